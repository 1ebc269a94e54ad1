"""What a chat service says of its installation at a well-known path: where history is, how large messages may be."""

import json
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from chat_client.chat import connect_address
from chat_client.errors import Refused, Unreachable, WrongAnswer
from chat_client.proxy import through
from frameproto.connection import CONNECT_PATH, WELL_KNOWN_PATH

ANSWER_SECONDS: Final = 10.0
LARGEST_BYTES: Final = 64 * 1024


def learn_history_address(chat_url: str) -> str:
    """Ask the chat service at this address where history is. This call blocks.

    Raises:
        Unreachable: it does not answer, or what answers is no chat service that says so.
    """
    base = base_of(chat_url)
    history = _describe(base + WELL_KNOWN_PATH).get("history")
    if history is None:
        return base
    if not isinstance(history, str):
        raise WrongAnswer(f"what answers at {base} is not a chatbot: it names no history")
    return history


def is_history(chat_url: str) -> bool:
    """Say whether the history service answers at what was taken for the address of a chat service. This call blocks."""
    try:
        with urlopen(Request(base_of(chat_url) + "/readyz"), timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - as below
            found = json.loads(answer.read(LARGEST_BYTES))
            return "stores" in found["checks"]
    except (HTTPError, URLError, OSError, ValueError, LookupError, TypeError, Unreachable):
        return False


def base_of(chat_url: str) -> str:
    """Return the address of a chat service for HTTP, without a path at its end."""
    websocket = connect_address(chat_url).removesuffix(CONNECT_PATH)
    return "http" + websocket.removeprefix("ws")


def _describe(url: str) -> dict[str, Any]:
    where = urlsplit(url).netloc
    hint = "name the history service by --history or CHAT_HISTORY_URL"
    try:
        with urlopen(Request(url), timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - made of an address for WebSocket
            found = json.loads(answer.read(LARGEST_BYTES))
    except HTTPError as exc:
        with exc:
            if exc.code == 404:  # noqa: PLR2004 - an older server, or history itself
                if is_history(url.removesuffix(WELL_KNOWN_PATH)):
                    raise Unreachable(f"{where} is the history service, not chat: {hint}") from exc
                raise Unreachable(f"{where} does not say where history is: {hint}") from exc
            raise Refused.from_problem(exc.code, exc.read(LARGEST_BYTES), exc.headers.get("Retry-After")) from exc
    except (URLError, OSError) as exc:
        why = getattr(exc, "reason", None) or exc
        raise Unreachable(f"{where} cannot be asked where history is: {why}{through(url)}; {hint}") from exc
    except ValueError as exc:
        raise WrongAnswer(f"what answers at {where} is not a chatbot; {hint}") from exc
    if not isinstance(found, dict):
        raise WrongAnswer(f"what answers at {where} is not a chatbot; {hint}")
    return found
