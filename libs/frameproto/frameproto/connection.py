"""The constants of a connection: its address, its headers, the rules for ids, and the close codes with their meaning.

docs/protocol.md explains them. Server, client library and load test all take them from here.
"""

import re
from enum import Enum, IntEnum, StrEnum
from typing import Final, Self
from uuid import UUID

CONNECT_PATH: Final = "/connect"
SUBPROTOCOL_V1: Final = "chatbot.v1"
WELL_KNOWN_PATH: Final = "/.well-known/chatbot"
"""Where the chat service describes the installation: where history is, how large messages may be."""
SUBPROTOCOL_V2: Final = "chatbot.v2"

SESSION_HEADER: Final = "chatbot-session"
"""The header of the handshake's answer that tells the id of the session."""


class Parameter(StrEnum):
    """A parameter of the address."""

    CLIENT_ID = "clientId"
    TIME_ZONE = "timeZone"
    SESSION_ID = "sessionId"
    WAIT_ID = "waitId"
    """Names the client's own place in the queue for a connection, so that it can ask about it and come back to it."""


MAX_CLIENT_ID: Final = 64
CLIENT_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MAX_CLIENT_ID - 1}}}")
CLIENT_ID_RULE: Final = f"1 to {MAX_CLIENT_ID} of A-Z a-z 0-9 . _ : -, beginning with a letter or digit"
"""The same rule in words."""

WAIT_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
WAIT_ID_RULE: Final = "16 to 64 of A-Z a-z 0-9 - _, made at random"

TIME_ZONE_RULE: Final = "a name such as Europe/Berlin or an offset such as +07:00"

UUID_PATTERN: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
UUID_RULE: Final = "a UUID in its usual form with hyphens"

_UUID: Final = re.compile(UUID_PATTERN)


def is_client_id(raw: str) -> bool:
    """Say whether this may be the id of a client."""
    return CLIENT_ID.fullmatch(raw) is not None


def is_wait_id(raw: str) -> bool:
    """Say whether this may name a place in the queue."""
    return WAIT_ID.fullmatch(raw) is not None


def parse_uuid(raw: str) -> UUID:
    """Return the UUID in `raw`; of the forms that exist only the one with hyphens is taken, in either case.

    Raises:
        ValueError: it is none.
    """
    if _UUID.fullmatch(raw) is None:
        raise ValueError(f"an id is {UUID_RULE}")
    return UUID(raw)


class Reconnect(Enum):
    """Whether a client connects again after a close, and when."""

    NEVER = "the same client would meet the same again"
    AT_ONCE = "at once, with jitter"
    LATER = "with back-off"
    WHEN_READY = "when it has something to say, or can read again"
    FRESH_TOKEN = "with a fresh token"  # noqa: S105 - not a secret


class CloseCode(IntEnum):
    """Why a connection ended.

    Attributes:
        meaning: a sentence for the person at the client.
        reconnect: what the client does next.
    """

    meaning: str
    reconnect: Reconnect

    def __new__(cls, code: int, reconnect: Reconnect = Reconnect.NEVER, meaning: str = "") -> Self:
        """Make a member that equals its number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.reconnect = reconnect
        return member

    GOODBYE = 1000, Reconnect.NEVER, "the conversation is over"
    GOING_AWAY = 1001, Reconnect.LATER, "the server went away"  # a proxy's, or a browser's; never our server's
    PROTOCOL_ERROR = 1002, Reconnect.NEVER, "the server could not make sense of what was sent"
    NO_STATUS = 1005, Reconnect.LATER, "the connection was closed, and nobody said why"  # never on the wire
    ABNORMAL = 1006, Reconnect.LATER, "the connection broke"  # never on the wire
    INVALID_TEXT = 1007, Reconnect.NEVER, "the server was sent a text that is not UTF-8"
    TOO_LARGE = 1009, Reconnect.NEVER, "the message was over the size limit of the server"
    INTERNAL = 1011, Reconnect.LATER, "the server met a fault of its own"
    DRAINING = 1012, Reconnect.AT_ONCE, "the server is being replaced"
    PERMIT_LOST = 1013, Reconnect.LATER, "this connection lost its place in the cluster"
    IDLE_TIMEOUT = 4000, Reconnect.WHEN_READY, "the server heard nothing for too long"
    BAD_FRAMES = 4001, Reconnect.NEVER, "the server could not read several messages in a row"
    SLOW_CONSUMER = 4002, Reconnect.WHEN_READY, "replies were not read in time"
    TOKEN_EXPIRED = 4003, Reconnect.FRESH_TOKEN, "the token has expired"
