"""The chatbot's binary frame protocol: strict, sans-I/O, without copies where that is possible.

One WebSocket binary message is one frame. A client sends requests, a server answers each with one response, in order.
docs/protocol.md describes the bytes. `frameproto.v2` has the frames of the second version, which wrap these;
`frameproto.exchange` is the record that is kept of both.
"""

from frameproto.errors import (
    BodyEmpty,
    ErrorTextInvalid,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
    KindUnknown,
    MessageIdInvalid,
    PartMissing,
    PartUnexpected,
    StatusUnknown,
    TextInvalid,
)
from frameproto.kinds import DEFAULT_MAX_FRAME_BYTES, Buffer, MediaPart, MessageKind, RequestKind, ResponseKind
from frameproto.requests import Request, decode_request, encode_request
from frameproto.responses import Response, decode_response, encode_response, error_response

__all__ = [
    "DEFAULT_MAX_FRAME_BYTES",
    "BodyEmpty",
    "Buffer",
    "ErrorTextInvalid",
    "FrameEmpty",
    "FrameError",
    "FrameTooLarge",
    "FrameTruncated",
    "KindUnknown",
    "MediaPart",
    "MessageIdInvalid",
    "MessageKind",
    "PartMissing",
    "PartUnexpected",
    "Request",
    "RequestKind",
    "Response",
    "ResponseKind",
    "StatusUnknown",
    "TextInvalid",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "error_response",
]
