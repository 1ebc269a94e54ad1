"""Request frames: `kind:1 body:*`."""

from dataclasses import dataclass
from typing import Final

from frameproto.errors import BodyEmpty, FrameEmpty, FrameTooLarge, KindUnknown, TextInvalid
from frameproto.kinds import DEFAULT_MAX_FRAME_BYTES, Buffer, RequestKind

_KINDS: Final = {int(kind): kind for kind in RequestKind}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: a text, a voice note or a video.

    Raises:
        FrameError: the body is empty, or is a text that is not UTF-8.
    """

    kind: RequestKind
    body: Buffer

    def __post_init__(self) -> None:
        if not len(self.body):
            raise BodyEmpty
        if self.kind.part is None:
            decode_text(self.body)

    @property
    def text(self) -> str:
        """The body of a text request, in words."""
        return decode_text(self.body)


def encode_request(request: Request) -> bytes:
    """Return the frame of a request."""
    return b"".join((bytes((request.kind,)), request.body))


def decode_request(frame: Buffer, *, max_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> Request:
    """Return the request in a frame; its body is a view of the frame, not a copy.

    Raises:
        FrameError: the frame is empty, over `max_bytes`, of no known kind, without a body, or a text that is not UTF-8.
    """
    check_size(frame, max_bytes)
    return Request(request_kind(frame), memoryview(frame)[1:])


def request_kind(frame: Buffer) -> RequestKind:
    """Return the kind of the request in a frame that has at least one byte. Raises KindUnknown."""
    kind = _KINDS.get(frame[0])
    if kind is None:
        known = ", ".join(f"{kind:d} is {kind.message_kind}" for kind in RequestKind)
        raise KindUnknown(f"{frame[0]} is not a kind of request; {known}")
    return kind


def check_size(frame: Buffer, max_bytes: int) -> None:
    """Pass when a frame has at least one byte and at most `max_bytes`."""
    if not len(frame):
        raise FrameEmpty
    if len(frame) > max_bytes:
        raise FrameTooLarge(f"the frame has {len(frame)} bytes; the limit is {max_bytes}")


def decode_text(body: Buffer) -> str:
    """Return bytes as text."""
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as exc:
        raise TextInvalid(f"the text is not valid UTF-8 at byte {exc.start}") from None
