"""Response frames: `kind:1 text_size:4 voice_size:4 text voice image`, sizes unsigned and big-endian."""

import re
import struct
from dataclasses import dataclass
from typing import Final

from frameproto.errors import (
    BodyEmpty,
    ErrorTextInvalid,
    FrameTooLarge,
    FrameTruncated,
    KindUnknown,
    PartMissing,
    PartUnexpected,
    TextInvalid,
)
from frameproto.kinds import DEFAULT_MAX_FRAME_BYTES, Buffer, MediaPart, ResponseKind
from frameproto.requests import check_size, decode_text

HEADER: Final = struct.Struct(">BII")
# Looked up once: in Python 3.11 a member of an enum takes as long as two calls.
_VOICE: Final = MediaPart.VOICE
_IMAGE: Final = MediaPart.IMAGE
_ERROR: Final = ResponseKind.ERROR
ERROR_TEXT: Final = re.compile(r"([a-z][a-z0-9_]{0,63}): (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answers: always a text; an MP3 and a JPEG as its kind has it.

    Raises:
        FrameError: the text is empty, a part is missing or must not be there, or the text of an error is not
            "code: message".
    """

    kind: ResponseKind
    text: str
    voice: Buffer = b""
    image: Buffer = b""

    def __post_init__(self) -> None:
        if not self.text:
            raise BodyEmpty("the response has no text")
        for part, content in self._parts():
            if len(content) and part not in self.kind.parts:
                raise PartUnexpected(f"a response of kind {self.kind.name} has no {part}")
            if not len(content) and part in self.kind.parts:
                raise PartMissing(f"a response of kind {self.kind.name} lacks its {part}")
        if self.kind is _ERROR and ERROR_TEXT.fullmatch(self.text) is None:
            raise ErrorTextInvalid

    @property
    def media(self) -> dict[MediaPart, Buffer]:
        """Its media, by part."""
        return {part: content for part, content in self._parts() if len(content)}

    @property
    def error_code(self) -> str:
        """The stable code of an error response."""
        return self._error()[1]

    @property
    def error_message(self) -> str:
        """The sentence of an error response."""
        return self._error()[2]

    def _parts(self) -> tuple[tuple[MediaPart, Buffer], ...]:
        return (_VOICE, self.voice), (_IMAGE, self.image)

    def _error(self) -> re.Match[str]:
        found = ERROR_TEXT.fullmatch(self.text) if self.kind is _ERROR else None
        if found is None:
            raise AttributeError(f"a response of kind {self.kind.name} is not an error")
        return found


def error_response(code: str, message: str) -> Response:
    """Return the response that says why there is no answer."""
    return Response(ResponseKind.ERROR, f"{code}: {message}")


def encode_response(response: Response) -> bytes:
    """Return the frame of a response.

    Raises:
        TextInvalid: the text holds a lone surrogate.
        FrameTooLarge: text or voice is too large for its size field.
    """
    opening = encode_opening(response.kind, response.text, len(response.voice))
    return b"".join((opening, response.voice, response.image))


def encode_opening(kind: ResponseKind, text: str, voice_bytes: int) -> bytes:
    """Return what comes before the media of a response, for a frame that is never in memory as a whole.

    Raises:
        TextInvalid: the text holds a lone surrogate.
        FrameTooLarge: text or voice is too large for its size field.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise TextInvalid("the text holds a lone surrogate, which UTF-8 cannot say") from None
    try:
        return HEADER.pack(kind, len(encoded), voice_bytes) + encoded
    except struct.error:
        raise FrameTooLarge("text and voice must each be under 4 GiB: their size fields can say no more") from None


def decode_response(frame: Buffer, *, max_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> Response:
    """Return the response in a frame; voice and image are views of the frame, not copies.

    Raises:
        FrameError: the frame is not what the table of responses allows.
    """
    check_size(frame, max_bytes)
    try:
        kind = ResponseKind(frame[0])
    except ValueError:
        raise KindUnknown(f"{frame[0]} is not a kind of response") from None
    if len(frame) < HEADER.size:
        raise FrameTruncated(f"a response begins with {HEADER.size} bytes of header; the frame has {len(frame)}")
    _, text_size, voice_size = HEADER.unpack_from(frame)
    voice_at = HEADER.size + text_size
    image_at = voice_at + voice_size
    if image_at > len(frame):
        raise FrameTruncated(f"text and voice end at byte {image_at}; the frame has {len(frame)}")
    view = memoryview(frame)
    text = decode_text(view[HEADER.size : voice_at])
    return Response(kind, text, view[voice_at:image_at], view[image_at:])
