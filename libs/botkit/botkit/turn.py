"""One message as a bot is told of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from frameproto import RequestKind


@dataclass(frozen=True, slots=True)
class Heard:
    """A voice note that was decoded.

    Attributes:
        seconds: how much of it could be decoded.
        whole: False when parts of it are missing or damaged.
        silent: nothing in it is loud enough to be heard.
    """

    seconds: float
    whole: bool = True
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A video that was decoded, as a player shows it.

    Attributes:
        seconds: how long it lasts.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        poster: one frame of it, as a JPEG.
        has_sound: whether it has a sound track.
    """

    seconds: float
    width: int
    height: int
    poster: bytes
    has_sound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message of a client.

    Attributes:
        kind: text, voice or video; `text`, `heard` or `seen` is there accordingly.
        client_id: whose message it is.
        local_time: when it came, aware and in the client's own time zone.
        session_id: the conversation it belongs to; None in a trial without a server.
        text: the words of a text message.
        heard: what a voice note is.
        seen: what a video is.
    """

    kind: RequestKind
    client_id: str
    local_time: datetime
    session_id: UUID | None = None
    text: str = ""
    heard: Heard | None = None
    seen: Seen | None = None

    def describe(self) -> str:
        """Return the message in words: a text as it is, e.g. `(a voice note of 3.2 seconds)` for the others."""
        match self.kind:
            case RequestKind.TEXT:
                return self.text
            case RequestKind.VOICE:
                return f"(a voice note of {self.heard.seconds:.1f} seconds)" if self.heard else "(a voice note)"
            case RequestKind.VIDEO:
                return f"(a video of {self.seen.seconds:.1f} seconds)" if self.seen else "(a video)"
            case _:
                assert_never(self.kind)
