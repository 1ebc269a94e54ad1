"""What the chat service asks of media, whoever does the work."""

from dataclasses import dataclass
from typing import Protocol

from frameproto import Buffer


class MediaError(Exception):
    """The media cannot be used.

    `code` is `media_unreadable`, `media_too_long` or `media_too_complex`, which the client can mend, or `media_failed`,
    which is our fault.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)  # both, so that it survives the way between processes
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


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
    """A video that was decoded, as a player shows it, with a frame of it as a picture (JPEG)."""

    seconds: float
    width: int
    height: int
    poster: bytes
    has_sound: bool


class MediaWorkers(Protocol):
    """Does media work beside the event loop.

    Work cannot be taken back: when an awaiting task is cancelled, the cancellation takes effect once the work has
    really ended, so that whoever bounds the number of jobs counts true. Workers are shared fairly by client id.
    """

    async def hear(self, file: Buffer, *, client_id: str) -> Heard:
        """Decode and check a voice note. Raises MediaError."""

    async def see(self, file: Buffer, *, client_id: str) -> Seen:
        """Decode and check a video, and take a picture from it. Raises MediaError."""

    async def speak(self, text: str, *, client_id: str) -> bytes:
        """Speak a text and return the MP3. Raises MediaError."""
