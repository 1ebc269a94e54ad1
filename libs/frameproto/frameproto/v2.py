"""The frames of `chatbot.v2`: an envelope that names a message, and behind it a frame of v1 or less.

    type:1 message_id:16 payload

    client  0 request     payload: a v1 request        server  0 response   payload: a v1 response
            1 again       the same, sent once more             1 piece      payload: UTF-8
            2 cancel      no payload                           2 status     payload: progress:1

The v1 frame stands in one piece at the end, so it is decoded, kept and sent without a copy. docs/protocol.md explains
what each frame means.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from frameproto.errors import (
    BodyEmpty,
    FrameTruncated,
    KindUnknown,
    MessageIdInvalid,
    PartUnexpected,
    StatusUnknown,
    TextInvalid,
)
from frameproto.kinds import DEFAULT_MAX_FRAME_BYTES, Buffer, ResponseKind
from frameproto.requests import Request, check_size, decode_request, decode_text, encode_request
from frameproto.responses import Response, decode_response, encode_response

ENVELOPE_BYTES: Final = 17
NO_MESSAGE: Final = UUID(int=0)
"""The id in a response that is about a frame whose own id cannot be read. No message has it."""

_ERROR: Final = bytes((ResponseKind.ERROR,))


class ClientType(IntEnum):
    """The first byte of what a client sends."""

    REQUEST = 0
    AGAIN = 1  # a request that was sent before, over a connection that broke
    CANCEL = 2


class ServerType(IntEnum):
    """The first byte of what a server sends."""

    RESPONSE = 0  # the last frame about a message
    PIECE = 1  # text that continues the reply
    STATUS = 2


class Progress(IntEnum):
    """What becomes of a message at the moment."""

    WAITING = 0  # for a place among the messages in process
    LISTENING = 1  # its voice or video is decoded
    THINKING = 2  # the bot works on the reply
    SPEAKING = 3  # the reply is turned into voice


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A request with the id of its message.

    Attributes:
        message_id: chosen by the client, new for each message.
        request: what is asked.
        again: it was sent before, over a connection that broke.

    Raises:
        MessageIdInvalid: the id is nil.
    """

    message_id: UUID
    request: Request
    again: bool = False

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client does not want the reply to this message any more.

    Raises:
        MessageIdInvalid: the id is nil.
    """

    message_id: UUID

    def __post_init__(self) -> None:
        _check_id(self.message_id)


@dataclass(frozen=True, slots=True)
class MessageResponse:
    """The response to a message: the whole reply, or the error that takes its place.

    Raises:
        MessageIdInvalid: the id is nil, and the response is not an error.
    """

    message_id: UUID
    response: Response

    def __post_init__(self) -> None:
        if self.response.kind is not ResponseKind.ERROR:
            _check_id(self.message_id)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that continues the reply to a message. It is provisional: the response holds the whole text.

    Raises:
        FrameError: the id is nil, or the text is empty.
    """

    message_id: UUID
    text: str

    def __post_init__(self) -> None:
        _check_id(self.message_id)
        if not self.text:
            raise BodyEmpty("the piece has no text")


@dataclass(frozen=True, slots=True)
class Status:
    """What becomes of a message at the moment.

    Raises:
        MessageIdInvalid: the id is nil.
    """

    message_id: UUID
    progress: Progress

    def __post_init__(self) -> None:
        _check_id(self.message_id)


ClientFrame = MessageRequest | Cancel
ServerFrame = MessageResponse | Piece | Status


def envelope(kind: ClientType | ServerType, message_id: UUID) -> bytes:
    """Return what stands before the payload, for a payload that is encoded already and not to be copied."""
    return bytes((kind,)) + message_id.bytes


def payload(frame: Buffer) -> memoryview:
    """Return what follows the envelope: of a request or response that was decoded, its frame of v1."""
    return memoryview(frame)[ENVELOPE_BYTES:]


def message_id_of(frame: Buffer) -> UUID:
    """Return the id in a frame that may be anything, for the error that answers it; `NO_MESSAGE`: it has none."""
    return UUID(bytes=bytes(frame[1:ENVELOPE_BYTES])) if len(frame) >= ENVELOPE_BYTES else NO_MESSAGE


def encode_client_frame(frame: ClientFrame) -> bytes:
    """Return the bytes of what a client sends."""
    match frame:
        case MessageRequest():
            kind = ClientType.AGAIN if frame.again else ClientType.REQUEST
            return b"".join((envelope(kind, frame.message_id), encode_request(frame.request)))
        case Cancel():
            return envelope(ClientType.CANCEL, frame.message_id)


def decode_client_frame(frame: Buffer, *, max_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> ClientFrame:
    """Return what a client sent; the body of a request is a view of the frame, not a copy.

    Raises:
        FrameError: the frame is not what the table of client frames allows.
    """
    check_size(frame, max_bytes)
    kind = _CLIENT_TYPES.get(frame[0])
    if kind is None:
        raise KindUnknown(f"{frame[0]} is not a type of client frame; {_words(ClientType)}")
    message_id = _id(frame)
    if kind is ClientType.CANCEL:
        _check_id(message_id)
        if len(frame) > ENVELOPE_BYTES:
            raise PartUnexpected("a cancel has nothing behind its id")
        return Cancel(message_id)
    _check_has_payload(frame, "request")
    _check_id(message_id)
    return MessageRequest(message_id, decode_request(payload(frame), max_bytes=max_bytes), kind is ClientType.AGAIN)


def encode_server_frame(frame: ServerFrame) -> bytes:
    """Return the bytes of what a server sends.

    Raises:
        TextInvalid: the text holds a lone surrogate.
        FrameTooLarge: text or voice is too large for its size field.
    """
    match frame:
        case MessageResponse():
            return b"".join((envelope(ServerType.RESPONSE, frame.message_id), encode_response(frame.response)))
        case Piece():
            try:
                return envelope(ServerType.PIECE, frame.message_id) + frame.text.encode()
            except UnicodeEncodeError:
                raise TextInvalid("the text holds a lone surrogate, which UTF-8 cannot encode") from None
        case Status():
            return envelope(ServerType.STATUS, frame.message_id) + bytes((frame.progress,))


def decode_server_frame(frame: Buffer, *, max_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> ServerFrame:
    """Return what a server sent; voice and image are views of the frame, not copies.

    Raises:
        FrameError: the frame is not what the table of server frames allows.
    """
    check_size(frame, max_bytes)
    kind = _SERVER_TYPES.get(frame[0])
    if kind is None:
        raise KindUnknown(f"{frame[0]} is not a type of server frame; {_words(ServerType)}")
    message_id = _id(frame)
    match kind:
        case ServerType.RESPONSE:
            _check_has_payload(frame, "response")
            rest = payload(frame)
            if rest[:1] != _ERROR:
                _check_id(message_id)
            return MessageResponse(message_id, decode_response(rest, max_bytes=max_bytes))
        case ServerType.PIECE:
            _check_id(message_id)
            return Piece(message_id, decode_text(payload(frame)))
        case ServerType.STATUS:
            _check_has_payload(frame, "status")
            _check_id(message_id)
            return Status(message_id, _progress(payload(frame)))


def _id(frame: Buffer) -> UUID:
    if len(frame) < ENVELOPE_BYTES:
        raise FrameTruncated(f"a frame begins with {ENVELOPE_BYTES} bytes, type and message id; it has {len(frame)}")
    return UUID(bytes=bytes(frame[1:ENVELOPE_BYTES]))


def _check_id(message_id: UUID) -> None:
    if not message_id.int:
        raise MessageIdInvalid


def _check_has_payload(frame: Buffer, name: str) -> None:
    if len(frame) == ENVELOPE_BYTES:
        raise FrameTruncated(f"a {name} has something behind its message id")


def _progress(rest: memoryview) -> Progress:
    progress = _PROGRESS.get(rest[0])
    if progress is None:
        raise StatusUnknown(f"{rest[0]} is not a status; {_words(Progress)}")
    if len(rest) > 1:
        raise PartUnexpected("a status has nothing behind its one byte")
    return progress


def _words(kinds: type[IntEnum]) -> str:
    return ", ".join(f"{kind:d} is {kind.name.lower()}" for kind in kinds)


_CLIENT_TYPES: Final = {int(kind): kind for kind in ClientType}
_SERVER_TYPES: Final = {int(kind): kind for kind in ServerType}
_PROGRESS: Final = {int(progress): progress for progress in Progress}
