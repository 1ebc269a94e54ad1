"""What can be wrong with a frame.

    FrameError                     (a ValueError; always the sender's fault)
    ├── FrameEmpty                 frame_empty
    ├── FrameTooLarge              frame_too_large
    ├── FrameTruncated             frame_truncated
    ├── KindUnknown                frame_kind_unknown
    ├── BodyEmpty                  frame_body_empty
    ├── TextInvalid                frame_text_invalid
    ├── PartUnexpected             frame_part_unexpected
    ├── PartMissing                frame_part_missing
    ├── ErrorTextInvalid           frame_error_invalid
    ├── MessageIdInvalid           frame_id_invalid           (v2 only, as the next one)
    └── StatusUnknown              frame_status_unknown

A docstring is the message of its exception unless the place that raises it knows better.
"""

from typing import ClassVar


class FrameError(ValueError):
    """This is not a frame of the protocol."""

    code: ClassVar[str] = "frame_invalid"
    fault: ClassVar[str] = "peer"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class FrameEmpty(FrameError):
    """The frame has no bytes; it needs a kind and a body."""

    code = "frame_empty"


class FrameTooLarge(FrameError):
    """The frame is over the size limit."""

    code = "frame_too_large"


class FrameTruncated(FrameError):
    """The frame ends before the sizes in its header say so."""

    code = "frame_truncated"


class KindUnknown(FrameError):
    """The first byte is not a kind of frame."""

    code = "frame_kind_unknown"


class BodyEmpty(FrameError):
    """The frame has a kind but no body."""

    code = "frame_body_empty"


class TextInvalid(FrameError):
    """The text is not valid UTF-8."""

    code = "frame_text_invalid"


class PartUnexpected(FrameError):
    """The frame has a part that its kind must not have."""

    code = "frame_part_unexpected"


class PartMissing(FrameError):
    """The frame lacks a part that its kind must have."""

    code = "frame_part_missing"


class ErrorTextInvalid(FrameError):
    """The text of an error frame is not "code: message"."""

    code = "frame_error_invalid"


class MessageIdInvalid(FrameError):
    """The message id is nil; it must be a UUID that the client has chosen."""

    code = "frame_id_invalid"


class StatusUnknown(FrameError):
    """The byte of a status is none that there is."""

    code = "frame_status_unknown"
