"""One message as a bot is told of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from frameproto import RequestKind


@dataclass(frozen=True, slots=True)
class Transcript:
    """What is spoken in a voice note or video, as a speech recognizer understood it.

    Attributes:
        text: the words; empty when nobody speaks.
        language: of the words, as ISO 639-1 has it, e.g. `en`; empty when it is not known.
    """

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """A voice note that was decoded.

    Attributes:
        seconds: how much of it could be decoded.
        whole: False when parts of it are missing or damaged.
        silent: nothing in it is loud enough to be heard.
        transcript: what is spoken; None when speech recognition is off or failed.
    """

    seconds: float
    whole: bool = True
    silent: bool = False
    transcript: Transcript | None = None


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A video that was decoded, as a player shows it.

    Attributes:
        seconds: how long it lasts.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        picture: one frame of a video with one shot, a contact sheet of one with several; JPEG.
        has_sound: whether it has a sound track.
        shots: how many shots it has: what lies between two cuts.
        transcript: what is spoken; None when there is no sound, or speech recognition is off or failed.
    """

    seconds: float
    width: int
    height: int
    picture: bytes
    has_sound: bool
    shots: int = 1
    transcript: Transcript | None = None


class Turn(NamedTuple):
    """One message of a client.

    Attributes:
        kind: text, voice or video; `text`, `audio` or `video` is there accordingly.
        client_id: whose message it is.
        local_time: when it came, aware and in the client's own time zone.
        session_id: the conversation it belongs to; None in a trial without a server.
        text: the words of a text message.
        audio: what a voice note is.
        video: what a video is.
    """

    kind: RequestKind
    client_id: str
    local_time: datetime
    session_id: UUID | None = None
    text: str = ""
    audio: AudioInfo | None = None
    video: VideoInfo | None = None

    @property
    def transcript(self) -> Transcript | None:
        """What is spoken in the voice note or video; None when there is none, or it was not recognized."""
        media = self.audio or self.video
        return media.transcript if media is not None else None

    @property
    def words(self) -> str:
        """What the client wrote or said; empty when nothing was said, or it was not recognized."""
        return self.text or (self.transcript.text if self.transcript is not None else "")

    def describe(self) -> str:
        """Return the message in words: a text as it is, e.g. `(a voice note of 3.2 seconds: "hello")` for voice."""
        match self.kind:
            case RequestKind.TEXT:
                return self.text
            case RequestKind.VOICE:
                return self._in_brackets("a voice note", self.audio)
            case RequestKind.VIDEO:
                return self._in_brackets("a video", self.video)
            case _:
                assert_never(self.kind)

    def _in_brackets(self, what: str, media: AudioInfo | VideoInfo | None) -> str:
        length = f" of {media.seconds:.1f} seconds" if media is not None else ""
        spoken = f': "{self.transcript.text}"' if self.transcript is not None and self.transcript.text else ""
        return f"({what}{length}{spoken})"
