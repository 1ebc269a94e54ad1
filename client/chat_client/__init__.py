"""The chatbot client, as a library and as the `chat-client` command.

async with connect("ws://127.0.0.1:8000", client_id="anna", time_zone="Europe/Berlin") as chat:
    reply = await chat.ask("What time is it?")
    print(reply.text)

Names are imported when they are first used, so that a command loads only what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from chat_client.asked import Asked
    from chat_client.changes import Change, Connected, Connecting, Ended, Idle, Lost, Retrying, State, Waiting
    from chat_client.chat import Chat, connect
    from chat_client.content import Content, Upload, video, voice
    from chat_client.credentials import Token
    from chat_client.errors import (
        ClientError,
        ConnectionLost,
        FileError,
        MessageFailed,
        MessageInvalid,
        Refused,
        Unanswered,
        Unreachable,
        WrongAnswer,
    )
    from chat_client.history import History
    from chat_client.history_records import Media, Message, Session, SignedUrl
    from chat_client.installation import Installation, describe
    from chat_client.link import Timing
    from chat_client.outgoing import Event, OnSent, Restarted, Version
    from chat_client.retry import Backoff
    from chat_client.waiting import Preflight, preflight
    from frameproto import RequestKind, Response, ResponseKind
    from frameproto.v2 import Piece, Progress, Status

_HOMES: Final = {
    "chat_client.asked": ("Asked",),
    "chat_client.changes": (
        "Change", "Connected", "Connecting", "Ended", "Idle", "Lost", "Retrying", "State", "Waiting",
    ),
    "chat_client.chat": ("Chat", "connect"),
    "chat_client.content": ("Content", "Upload", "video", "voice"),
    "chat_client.credentials": ("Token",),
    "chat_client.errors": (
        "ClientError", "ConnectionLost", "FileError", "MessageFailed", "MessageInvalid", "Refused", "Unanswered",
        "Unreachable", "WrongAnswer",
    ),
    "chat_client.history": ("History",),
    "chat_client.history_records": ("Media", "Message", "Session", "SignedUrl"),
    "chat_client.installation": ("Installation", "describe"),
    "chat_client.link": ("Timing",),
    "chat_client.outgoing": ("Event", "OnSent", "Restarted", "Version"),
    "chat_client.retry": ("Backoff",),
    "chat_client.waiting": ("Preflight", "preflight"),
    "frameproto": ("RequestKind", "Response", "ResponseKind"),
    "frameproto.v2": ("Piece", "Progress", "Status"),
}  # fmt: skip
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Asked",
    "Backoff",
    "Change",
    "Chat",
    "ClientError",
    "Connected",
    "Connecting",
    "ConnectionLost",
    "Content",
    "Ended",
    "Event",
    "FileError",
    "History",
    "Idle",
    "Installation",
    "Lost",
    "Media",
    "Message",
    "MessageFailed",
    "MessageInvalid",
    "OnSent",
    "Piece",
    "Preflight",
    "Progress",
    "Refused",
    "RequestKind",
    "Response",
    "ResponseKind",
    "Restarted",
    "Retrying",
    "Session",
    "SignedUrl",
    "State",
    "Status",
    "Timing",
    "Token",
    "Unanswered",
    "Unreachable",
    "Upload",
    "Version",
    "Waiting",
    "WrongAnswer",
    "connect",
    "describe",
    "preflight",
    "video",
    "voice",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what the name stands for
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
