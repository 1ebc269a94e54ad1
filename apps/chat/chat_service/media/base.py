"""What the chat service asks of media, whoever does the work."""

from types import TracebackType
from typing import Protocol, Self

from botkit import AudioInfo, VideoInfo
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


class MediaProcessor(Protocol):
    """Does media work beside the event loop.

    Work cannot be taken back: when an awaiting task is cancelled, the cancellation takes effect once the work has
    really ended, so that the caller's count of running jobs stays true. Workers are shared fairly by client id.
    """

    async def probe_audio(self, file: Buffer, *, client_id: str) -> AudioInfo:
        """Decode and check a voice note. Raises MediaError."""

    async def probe_video(self, file: Buffer, *, client_id: str) -> VideoInfo:
        """Decode and check a video, and take a picture from it. Raises MediaError."""

    async def synthesize(self, text: str, *, client_id: str, language: str = "") -> bytes:
        """Speak a text and return the MP3. Raises MediaError.

        Args:
            text: what is said.
            client_id: for whom.
            language: of the text, as ISO 639-1 has it; empty when it is not known.
        """


class MediaPool(MediaProcessor, Protocol):
    """Media workers that live as long as the pod; an async context manager."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""

    async def __aenter__(self) -> Self:
        """Start. Raises MediaError when there is no worker that can work."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, in the middle of a job if need be."""
