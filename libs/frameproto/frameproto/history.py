"""The JSON of the history service: the service writes these shapes, its OpenAPI document shows them, clients read them.

An annotation carries what JSON Schema says beyond the type. docs/http-api.md explains each member.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, NotRequired, TypedDict

from frameproto.connection import CLIENT_ID, MAX_CLIENT_ID, UUID_PATTERN
from frameproto.kinds import MediaPart, MessageKind, Outcome
from frameproto.media import CONTENT_TYPES

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
"""How many items a page may have."""

MAX_TITLE_CHARACTERS: Final = 200
MAX_QUERY_CHARACTERS: Final = 256
TIME_ZONE_PATTERN: Final = "[A-Za-z0-9_+:/.-]{1,64}"
SESSION_CURSOR_PATTERN: Final = "[A-Za-z0-9_-]{32}"
NOW: Final = "now"
"""The cursor of a follower who wants nothing of what has arrived so far."""

NDJSON: Final = "application/x-ndjson"


class Direction(StrEnum):
    """Which message of an exchange; the request comes first."""

    REQUEST = "request"
    REPLY = "reply"


class InsertResult(StrEnum):
    """The result of handing in an exchange that can be read."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    ERASED = "erased"
    """Its session was deleted or its client erased after it was received: it is not kept, and not wanted again."""
    SUPERSEDED = "superseded"
    """A later answer to the same message is kept: this one is not, and is not wanted again."""


REFUSED: Final = "refused"
"""The result of an exchange that cannot be read."""


class ExportLine(StrEnum):
    """The member `type` of a line of an export; the last line is the end."""

    SESSION = "session"
    MESSAGE = "message"
    END = "end"


DIRECTIONS: Final = "|".join(Direction)
MESSAGE_ID_PATTERN: Final = rf"[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\.({DIRECTIONS})"
ARRIVAL_CURSOR_PATTERN: Final = rf"{NOW}|([0-9]{{1,18}})\.({DIRECTIONS})"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What JSON Schema says of a value beyond its type, as pairs of keyword and value."""

    keywords: tuple[tuple[str, object], ...]


def rule(**keywords: object) -> FieldRule:
    """Return a rule from the keywords of JSON Schema."""
    return FieldRule(tuple(keywords.items()))


def one_of(values: Iterable[str]) -> FieldRule:
    """Return the rule of a string that is one of these."""
    return rule(enum=tuple(str(value) for value in values))


Uuid = Annotated[str, rule(format="uuid", pattern=f"^{UUID_PATTERN}$")]
ClientId = Annotated[str, rule(pattern=f"^{CLIENT_ID.pattern}$", maxLength=MAX_CLIENT_ID)]
MessageId = Annotated[str, rule(pattern=f"^{MESSAGE_ID_PATTERN}$")]
ArrivalCursor = Annotated[str, rule(pattern=f"^({ARRIVAL_CURSOR_PATTERN})$")]
Moment = Annotated[str, rule(format="date-time")]
Href = Annotated[str, rule(format="uri-reference")]
Count = Annotated[int, rule(minimum=0)]
Title = Annotated[
    str | None, rule(minLength=1, maxLength=MAX_TITLE_CHARACTERS, pattern=r"^[^\u0000-\u001f\u007f-\u009f]*$")
]


class SessionJson(TypedDict):
    """A conversation."""

    id: Uuid
    client_id: ClientId
    time_zone: str
    started_at: Moment
    title: Title
    message_count: Count
    last_message_at: Moment | None


class NewSessionJson(TypedDict):
    """What a session is made with."""

    title: NotRequired[Title]
    time_zone: NotRequired[Annotated[str, rule(pattern=f"^{TIME_ZONE_PATTERN}$", default="UTC")]]


class SessionChangeJson(TypedDict):
    """What is to be changed."""

    title: NotRequired[Title]


class MediaJson(TypedDict):
    """Where a piece of media is."""

    href: Href
    content_type: Annotated[str, one_of(sorted(CONTENT_TYPES))]
    bytes: Count


class MessageJson(TypedDict):
    """A message."""

    id: MessageId
    exchange_id: Uuid
    message_id: Uuid | None
    session_id: Uuid
    direction: Annotated[str, one_of(Direction)]
    kind: Annotated[str, one_of(MessageKind)]
    text: str | None
    transcribed: bool
    media: Annotated[dict[str, MediaJson], rule(propertyNames=one_of(MediaPart))]
    outcome: Annotated[str, one_of(Outcome)]
    sent_at: Moment


class SignedUrlJson(TypedDict):
    """Where media open without a token, and until when."""

    href: Href
    expires_at: Moment | None


class SessionsJson(TypedDict):
    """A page."""

    sessions: Annotated[list[SessionJson], rule(maxItems=MAX_LIMIT)]
    next: str | None


class MessagesJson(TypedDict):
    """A page."""

    messages: Annotated[list[MessageJson], rule(maxItems=MAX_LIMIT)]
    before: str | None
    after: str | None


class ArrivalsJson(TypedDict):
    """Messages in the order of their arrival, and the cursor to go on from."""

    messages: Annotated[list[MessageJson], rule(maxItems=MAX_LIMIT)]
    next: ArrivalCursor


class FoundJson(TypedDict):
    """A page."""

    messages: Annotated[list[MessageJson], rule(maxItems=MAX_LIMIT)]
    next: str | None


class ContextMessageJson(TypedDict):
    """A message of a session that goes on."""

    direction: Annotated[str, one_of(Direction)]
    kind: Annotated[str, one_of(MessageKind)]
    text: str | None
    transcribed: bool
    sent_at: Moment


class ContextJson(TypedDict):
    """The newest messages of a session, oldest first."""

    messages: Annotated[list[ContextMessageJson], rule(maxItems=MAX_LIMIT)]


class ResultJson(TypedDict):
    """The result of handing an exchange in."""

    id: Uuid | None
    outcome: Annotated[str, one_of((*InsertResult, REFUSED))]
    code: NotRequired[str]
    detail: NotRequired[str]


class ResultsJson(TypedDict):
    """One result for each record, in order."""

    results: list[ResultJson]
