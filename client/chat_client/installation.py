"""What a chat service says of its installation at a well-known path: where history is, how large messages may be."""

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from chat_client.address import http_address
from chat_client.errors import Refused, Unreachable, WrongAnswer
from chat_client.proxy import through
from frameproto.connection import WELL_KNOWN_PATH

ANSWER_SECONDS: Final = 10.0
LARGEST_BYTES: Final = 64 * 1024
NOT_FOUND: Final = 404
HINT: Final = "name the history service by --history or CHAT_HISTORY_URL"


@dataclass(frozen=True, slots=True)
class Installation:
    """What a chat service says of itself.

    Attributes:
        history: the address of the history service.
        subprotocols: that it speaks, the preferred one first.
        auth: `none`, or `jwt`: it asks for a token.
        window: how many messages of a connection it works on at once.
        max_frame_bytes: the largest message that it takes.
        max_text_bytes: the largest text.
    """

    history: str
    subprotocols: tuple[str, ...]
    auth: str
    window: int
    max_frame_bytes: int
    max_text_bytes: int


def describe(chat_url: str) -> Installation:
    """Ask the chat service at this address about its installation. This call blocks.

    Raises:
        Unreachable: it does not answer, or what answers is no chat service that says so.
        Refused: it refuses to say.
    """
    base = http_address(chat_url)
    found = _ask(base + WELL_KNOWN_PATH)
    try:
        return Installation(
            history=base if found["history"] is None else _text(found["history"]),
            subprotocols=tuple(_text(name) for name in found["subprotocols"]),
            auth=_text(found["auth"]),
            window=int(found["window"]),
            max_frame_bytes=int(found["max_frame_bytes"]),
            max_text_bytes=int(found["max_text_bytes"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise WrongAnswer(f"what answers at {base} is not a chatbot; {HINT}") from exc


def learn_history_address(chat_url: str) -> str:
    """Ask the chat service at this address where history is. This call blocks.

    Raises:
        Unreachable: it does not answer, or what answers is no chat service that says so.
        Refused: it refuses to say.
    """
    return describe(chat_url).history


def is_history(chat_url: str) -> bool:
    """Say whether the history service answers at what was taken for the address of a chat service. This call blocks."""
    try:
        url = http_address(chat_url) + "/readyz"
        with urlopen(Request(url), timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - as below
            found = json.loads(answer.read(LARGEST_BYTES))
            return "stores" in found["checks"]
    except (HTTPError, URLError, OSError, ValueError, LookupError, TypeError, Unreachable):
        return False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _ask(url: str) -> Any:  # noqa: ANN401 - JSON from elsewhere
    where = urlsplit(url).netloc
    try:
        with urlopen(Request(url), timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - made of an address for WebSocket
            return json.loads(answer.read(LARGEST_BYTES))
    except HTTPError as exc:
        with exc:
            if exc.code == NOT_FOUND:  # an older server, or history itself
                if is_history(url.removesuffix(WELL_KNOWN_PATH)):
                    raise Unreachable(f"{where} is the history service, not chat: {HINT}") from exc
                raise Unreachable(f"{where} does not say where history is: {HINT}") from exc
            raise Refused.from_problem(exc.code, exc.read(LARGEST_BYTES), exc.headers.get("Retry-After")) from exc
    except (URLError, OSError) as exc:
        why = getattr(exc, "reason", None) or exc
        raise Unreachable(f"{where} cannot be asked where history is: {why}{through(url)}; {HINT}") from exc
    except ValueError as exc:
        raise WrongAnswer(f"what answers at {where} is not a chatbot; {HINT}") from exc
