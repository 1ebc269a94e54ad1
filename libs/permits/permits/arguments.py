"""Checks of arguments where they enter, so that nothing reaches the store that it cannot take."""

import re
from typing import Final

MOST_CLIENT_BYTES: Final = 512
MOST_WAIT_ID_BYTES: Final = 64
LONGEST_WAIT_SECONDS: Final = 31_536_000.0
"""A year."""
SHORTEST_SECONDS: Final = 0.01
LONGEST_LEASE_SECONDS: Final = 86_400.0
MOST_PERMITS: Final = 10_000_000
MOST_POD_BYTES: Final = 255
MOST_PROCESS_BYTES: Final = MOST_POD_BYTES + 33
"""Of a process as the store knows it: its pod, a slash and 32 digits."""
_NUMBERS: Final = (int, float)
POOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_text(name: str, value: object) -> str:
    """Check that an argument is text, and return it.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r}")
    return value


def check_callable(name: str, value: object) -> None:
    """Check that an argument is a function, as far as that can be told quickly.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}")


def _utf8_size(name: str, text: str) -> int:
    """Return the length of an argument in bytes.

    Raises:
        ValueError: it cannot be written in UTF-8. The message does not hold all of it, because a wait id is a secret.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise ValueError(f"{name} cannot be written in UTF-8: {exc}") from None


def check_pool_name(name: object) -> None:
    """Check the name of a pool, which makes one hash tag of its keys.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty or too long, or has other characters.
    """
    if not POOL_NAME.fullmatch(check_text("name", name)):
        raise ValueError(f"a pool's name is 1 to 64 letters, digits, '_', '.' and '-', not {name!r}")


def check_pod(pod: object, most_bytes: int = MOST_POD_BYTES) -> None:
    """Check what a process is called.

    Raises:
        TypeError: it is not text.
        ValueError: it is not one word, is too long, or cannot be written in UTF-8.
    """
    pod = check_text("pod", pod)
    if not pod or any(letter.isspace() for letter in pod):
        raise ValueError(f"a pod's name is one word, not {pod!r}")
    size = _utf8_size("pod", pod)
    if size > most_bytes:
        raise ValueError(f"pod has {size} bytes; {most_bytes} is the most")


def check_client(client_id: object) -> None:
    """Check a client id.

    Raises:
        TypeError: it is not text.
        ValueError: it is too long, or cannot be written in UTF-8.
    """
    client_id = check_text("client_id", client_id)
    size = _utf8_size("client_id", client_id)
    if size > MOST_CLIENT_BYTES:
        raise ValueError(f"client_id has {size} bytes; {MOST_CLIENT_BYTES} is the most")


def check_wait_id(wait_id: str) -> None:
    """Check a wait id.

    Raises:
        TypeError: it is not text.
        ValueError: it is empty or too long, or cannot be written in UTF-8.
    """
    check_text("wait_id", wait_id)
    size = _utf8_size("wait_id", wait_id)
    if not 1 <= size <= MOST_WAIT_ID_BYTES:
        raise ValueError(f"wait_id has {size} bytes; it must have 1 to {MOST_WAIT_ID_BYTES}")


def check_wait(wait_seconds: object) -> None:
    """Check how long to wait.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative, NaN, or too long.
    """
    if not isinstance(wait_seconds, _NUMBERS) or isinstance(wait_seconds, bool):
        raise TypeError(f"wait_seconds must be a number, not {wait_seconds!r}")
    if not 0 <= wait_seconds <= LONGEST_WAIT_SECONDS:  # NaN fails both comparisons
        raise ValueError(f"wait_seconds must be from 0 to {LONGEST_WAIT_SECONDS:.0f}, not {wait_seconds}")


def check_request(client_id: object, wait_seconds: object, wait_id: str | None) -> None:
    """Check the arguments of a request.

    Raises:
        TypeError: one of them is of another type.
        ValueError: one of them is invalid.
    """
    if not (
        isinstance(wait_seconds, _NUMBERS)
        and wait_seconds.__class__ is not bool
        and 0 <= wait_seconds <= LONGEST_WAIT_SECONDS
    ):
        check_wait(wait_seconds)
    if not (isinstance(client_id, str) and len(client_id) <= MOST_CLIENT_BYTES and client_id.isascii()):
        check_client(client_id)  # inline above, so that valid arguments cost no call
    if wait_id is not None:
        check_wait_id(wait_id)


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Check a number of permits or waiters.

    Raises:
        ValueError: it is invalid.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST_PERMITS:
        raise ValueError(f"{name} must be a whole number from {least} to {MOST_PERMITS}, not {value!r}")


def check_terms(*, capacity: int, per_client: int | None, max_waiting: int) -> None:
    """Check the limits of a pool. Raises as `check_count`."""
    check_count("capacity", capacity)
    check_count("max_waiting", max_waiting, least=0)
    if per_client is not None:
        check_count("per_client", per_client)


def check_seconds(name: str, value: object) -> None:
    """Check the length of a lease, or of the wait for an answer.

    Raises:
        ValueError: it is invalid.
    """
    if isinstance(value, bool) or not isinstance(value, _NUMBERS) or not _is_length(value):
        raise ValueError(
            f"{name} must be from {SHORTEST_SECONDS} to {LONGEST_LEASE_SECONDS:.0f} seconds, not {value!r}"
        )


def _is_length(seconds: float) -> bool:
    return SHORTEST_SECONDS <= seconds <= LONGEST_LEASE_SECONDS
