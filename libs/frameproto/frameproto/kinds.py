"""The constants of the wire."""

from enum import IntEnum
from typing import Final


class RequestKind(IntEnum):
    """The first byte of a request: what its body is."""

    TEXT = 0  # UTF-8
    VOICE = 1  # MP3
    VIDEO = 2  # MP4


class ResponseKind(IntEnum):
    """The first byte of a response: which parts follow its header."""

    TEXT = 0  # text
    VOICE = 1  # text, MP3
    VIDEO = 2  # text, MP3, JPEG
    ERROR = 3  # text that says why: "code: message"


DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024

Buffer = bytes | bytearray | memoryview
"""What frames are decoded from; decoding gives views of it, not copies. A view must be contiguous, of single bytes."""
