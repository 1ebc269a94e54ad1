"""What the two versions of the protocol differ in: how a frame from the client is read, and how ours are written.

Everything behind this speaks of requests and responses of v1, which v2 puts into envelopes. v1 has no pieces, no
statuses and no cancels.
"""

from typing import TYPE_CHECKING, Final, Protocol

from frameproto import FrameError, RequestKind, decode_request
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from frameproto.v2 import (
    ENVELOPE_BYTES,
    NO_MESSAGE,
    Cancel,
    ClientType,
    Progress,
    ServerType,
    decode_client_frame,
    envelope,
    message_id_of,
    payload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from chat_service.pending import PendingMessage
    from frameproto.kinds import Buffer

TEXT: Final = bytes((RequestKind.TEXT,))


class Dialect(Protocol):
    """One version of the protocol."""

    @property
    def tells(self) -> bool:
        """Whether the client is told how a reply comes along, by pieces and statuses."""

    def cancelled(self, frame: "Buffer") -> "UUID | None":
        """Return the id in a cancel; None: the frame is something else, or is not in order."""

    def is_text(self, frame: "Buffer", max_text_bytes: int) -> bool:
        """Say whether a frame is a text of at most so many bytes, before it is read."""

    def read(self, message: "PendingMessage", frame: "Buffer", max_bytes: int) -> None:
        """Fill in a message from its frame; whatever is wrong with it, the id that can be read.

        Raises:
            FrameError: the frame is not a request.
        """

    def response(self, message: "PendingMessage") -> bytes:
        """Return the frame of the reply to a message."""

    def piece(self, message: "PendingMessage", text: str) -> bytes:
        """Return the frame of a piece of the reply."""

    def status(self, message: "PendingMessage", progress: Progress) -> bytes:
        """Return the frame that says what happens to a message."""


class _V1:
    """See `Dialect`."""

    __slots__ = ()

    tells = False

    def cancelled(self, frame: "Buffer") -> "UUID | None":  # noqa: ARG002 - see Dialect
        return None

    def is_text(self, frame: "Buffer", max_text_bytes: int) -> bool:
        return len(frame) <= 1 + max_text_bytes and frame[:1] == TEXT

    def read(self, message: "PendingMessage", frame: "Buffer", max_bytes: int) -> None:
        message.request = decode_request(frame, max_bytes=max_bytes)

    def response(self, message: "PendingMessage") -> bytes:
        return message.reply

    def piece(self, message: "PendingMessage", text: str) -> bytes:
        raise NotImplementedError("v1 has no pieces")

    def status(self, message: "PendingMessage", progress: Progress) -> bytes:
        raise NotImplementedError("v1 has no statuses")


class _V2:
    """See `Dialect`."""

    __slots__ = ()

    tells = True

    def cancelled(self, frame: "Buffer") -> "UUID | None":
        if len(frame) != ENVELOPE_BYTES or frame[0] != ClientType.CANCEL:
            return None
        message_id = message_id_of(frame)
        return message_id if message_id.int else None

    def is_text(self, frame: "Buffer", max_text_bytes: int) -> bool:
        return (
            len(frame) <= ENVELOPE_BYTES + 1 + max_text_bytes and frame[ENVELOPE_BYTES : ENVELOPE_BYTES + 1] == b"\x00"
        )

    def read(self, message: "PendingMessage", frame: "Buffer", max_bytes: int) -> None:
        try:
            read = decode_client_frame(frame, max_bytes=max_bytes)
        except FrameError:
            message.message_id = message_id_of(frame)
            raise
        assert not isinstance(read, Cancel)  # noqa: S101 - `cancelled` has found those
        message.message_id = read.message_id
        message.request = read.request
        message.is_again = read.again
        message.frame = payload(frame)

    def response(self, message: "PendingMessage") -> bytes:
        return envelope(ServerType.RESPONSE, message.message_id or NO_MESSAGE) + message.reply

    def piece(self, message: "PendingMessage", text: str) -> bytes:
        return envelope(ServerType.PIECE, message.message_id or NO_MESSAGE) + text.encode()

    def status(self, message: "PendingMessage", progress: Progress) -> bytes:
        return envelope(ServerType.STATUS, message.message_id or NO_MESSAGE) + bytes((progress,))


V1: Final[Dialect] = _V1()
V2: Final[Dialect] = _V2()
DIALECTS: Final = {SUBPROTOCOL_V2: V2, SUBPROTOCOL_V1: V1}
"""By subprotocol; the first one that a client offers of these is spoken."""


def choose(offered: "Iterable[str]") -> tuple[str | None, Dialect]:
    """Return the subprotocol for a client that offers these, and its dialect; without any of ours it is v1, unnamed."""
    names = frozenset(offered)
    for name, dialect in DIALECTS.items():
        if name in names:
            return name, dialect
    return None, V1
