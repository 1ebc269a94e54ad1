"""The chatbot client, as a library and as the `chat-client` command.

async with connect("ws://127.0.0.1:8000", client_id="anna", time_zone="Europe/Berlin") as chat:
    reply = await chat.ask(RequestKind.TEXT, "What time is it?".encode())
    print(reply.text)

Names are imported when they are first used, so that a command loads only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from chat_client.chat import Chat, connect
    from chat_client.errors import ClientError, ConnectionLost, FileTrouble, Refused, Unreachable, WrongAnswer
    from chat_client.history import History, Media, Message, Session, SignedUrl
    from frameproto import RequestKind, Response, ResponseKind

__all__ = [
    "Chat",
    "ClientError",
    "ConnectionLost",
    "FileTrouble",
    "History",
    "Media",
    "Message",
    "Refused",
    "RequestKind",
    "Response",
    "ResponseKind",
    "Session",
    "SignedUrl",
    "Unreachable",
    "WrongAnswer",
    "connect",
]

_HOMES: Final = {
    "chat_client.chat": ("Chat", "connect"),
    "chat_client.errors": ("ClientError", "ConnectionLost", "FileTrouble", "Refused", "Unreachable", "WrongAnswer"),
    "chat_client.history": ("SignedUrl", "History", "Media", "Message", "Session"),
    "frameproto": ("RequestKind", "Response", "ResponseKind"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what the name stands for
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
