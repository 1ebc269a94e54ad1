"""The address of a chat service, in the forms in which people give it."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from chat_client.errors import Unreachable
from frameproto.connection import CONNECT_PATH

SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


def connect_address(address: str) -> str:
    """Return where to connect: the address with the scheme of WebSocket and the path of connections.

    Raises:
        Unreachable: it is not an address.
    """
    given = address if "://" in address else f"ws://{address}"
    try:
        parts = urlsplit(given)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), None
    if not usable or parts.scheme not in SCHEMES:
        raise Unreachable(f"{address} is not the address of a chatbot; one looks like ws://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit(
        (SCHEMES[parts.scheme], parts.netloc, path if path.endswith(CONNECT_PATH) else path + CONNECT_PATH, "", "")
    )


def http_address(address: str) -> str:
    """Return the address of a chat service for HTTP, without a path at its end.

    Raises:
        Unreachable: it is not an address.
    """
    return "http" + connect_address(address).removesuffix(CONNECT_PATH).removeprefix("ws")
