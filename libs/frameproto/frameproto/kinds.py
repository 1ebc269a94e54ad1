"""The kinds of messages and the parts they have: one table, from which everything else is derived.

A kind is added here, and to the formats in `frameproto.media` when it brings a part of its own. Services and clients
read the rest from here: which part a request is, which kind of response answers it, and what that one holds.
"""

from enum import IntEnum, StrEnum
from typing import Final, Self


class MediaPart(StrEnum):
    """Media of a message. Its value is its name in history, in file names and on the command line.

    Attributes:
        media_type: of the format that the protocol names (RFC 6838).
        suffix: of the names of such files, without a dot.
    """

    media_type: str
    suffix: str

    def __new__(cls, name: str, media_type: str = "", suffix: str = "") -> Self:
        """Make a member that equals its name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.media_type = media_type
        member.suffix = suffix
        return member

    VOICE = "voice", "audio/mpeg", "mp3"
    VIDEO = "video", "video/mp4", "mp4"
    IMAGE = "image", "image/jpeg", "jpg"


class MessageKind(StrEnum):
    """The kind of a message in words, whichever side it is from."""

    TEXT = "text"
    VOICE = "voice"
    VIDEO = "video"
    ERROR = "error"


class Outcome(StrEnum):
    """How the server's side of an exchange went."""

    ANSWERED = "answered"
    FAILED = "failed"  # accepted, but a fault of ours prevented the answer; the response is an error frame


class ResponseKind(IntEnum):
    """The first byte of a response.

    Attributes:
        message_kind: the same in words.
        parts: the media that follow the text, in the order of the frame.
    """

    message_kind: MessageKind
    parts: tuple[MediaPart, ...]

    def __new__(
        cls, number: int, message_kind: MessageKind = MessageKind.ERROR, parts: tuple[MediaPart, ...] = ()
    ) -> Self:
        """Make a member that equals its byte."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.message_kind = message_kind
        member.parts = parts
        return member

    TEXT = 0, MessageKind.TEXT
    VOICE = 1, MessageKind.VOICE, (MediaPart.VOICE,)
    VIDEO = 2, MessageKind.VIDEO, (MediaPart.VOICE, MediaPart.IMAGE)
    ERROR = 3, MessageKind.ERROR  # the text says why: "code: message"


class RequestKind(IntEnum):
    """The first byte of a request: what its body is.

    Attributes:
        message_kind: the same in words.
        part: the media that the body is; None: it is a text, in UTF-8.
        description: what a person calls such a message.
        answered_by: the kind of its response, unless that is an error.
    """

    message_kind: MessageKind
    part: MediaPart | None
    description: str
    answered_by: ResponseKind

    def __new__(
        cls,
        number: int,
        message_kind: MessageKind = MessageKind.ERROR,
        part: MediaPart | None = None,
        description: str = "",
        answered_by: ResponseKind = ResponseKind.ERROR,
    ) -> Self:
        """Make a member that equals its byte."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.message_kind = message_kind
        member.part = part
        member.description = description
        member.answered_by = answered_by
        return member

    TEXT = 0, MessageKind.TEXT, None, "text", ResponseKind.TEXT
    VOICE = 1, MessageKind.VOICE, MediaPart.VOICE, "voice note", ResponseKind.VOICE
    VIDEO = 2, MessageKind.VIDEO, MediaPart.VIDEO, "video", ResponseKind.VIDEO


DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024

Buffer = bytes | bytearray | memoryview
"""What frames are decoded from; decoding gives views of it, not copies. A view must be contiguous, of single bytes."""
