"""The exchange record: what chat hands to history. One request, its response, and the facts about both.

MessagePack, an array whose first element is the version, so that a reader knows what follows before it reads on.
A batch is an array of encoded records, each as a byte string: records are joined without being decoded, and one bad
record does not spoil the others.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgpack

from frameproto.connection import MAX_CLIENT_ID
from frameproto.kinds import DEFAULT_MAX_FRAME_BYTES, Buffer, Outcome

EXCHANGE_VERSION: Final = 1
"""What a record is written as that needs no more; each is of the lowest version that holds it, so that older readers
take what they can."""
TRANSCRIPT_VERSION: Final = 2
MESSAGE_ID_VERSION: Final = 3
MAX_TIME_ZONE: Final = 64
MAX_TRANSCRIPT: Final = 64 * 1024
MAX_ATTEMPT: Final = (1 << 62) - 1
"""History keeps twice as much in a signed integer of 64 bits."""
MAX_BATCH_RECORDS: Final = 10_000
MAX_RECORD_BYTES: Final = 4 * DEFAULT_MAX_FRAME_BYTES

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIELDS: Final = {EXCHANGE_VERSION: 10, TRANSCRIPT_VERSION: 11, MESSAGE_ID_VERSION: 13}
_OPENING: Final = bytes([0x90 + _FIELDS[EXCHANGE_VERSION], EXCHANGE_VERSION])
_OPENING_BYTES: Final = 14  # the longest array header, then the longest integer


class RecordError(ValueError):
    """This is not an exchange record.

    `code` is one of `record_unreadable`, `record_version_unknown`, `record_field_invalid`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_PACKER: Final = msgpack.Packer()
"""One for all: each takes a buffer of 256 KiB from the system, and that takes longer than to pack a record."""
_NO_FRAMES: Final = (b"", b"")
_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome}


class Exchange(NamedTuple):
    """One request and its response.

    Attributes:
        id: UUIDv7, minted when the request was accepted; the identity under which history keeps it once.
        session_id: the conversation it belongs to.
        client_id: whose data it is.
        time_zone: where the client said it was; a zone name or a fixed offset.
        received_at: when the request was complete (aware, UTC, microseconds).
        answered_at: when the response was ready.
        outcome: answered, or failed by our fault.
        request: the request frame of v1, as it crossed the wire.
        response: the response frame of v1, as it crosses the wire.
        transcript: what was said in a request that is no text, as far as it was understood; empty: nothing was.
        message_id: what the client called the message (v2); None: it came over v1.
        attempt: the ticket of the connection over which the request came. A client that sends a message again does so
            over a later connection, so of several answers to one message the one with the highest ticket counts.
    """

    id: UUID
    session_id: UUID
    client_id: str
    time_zone: str
    received_at: datetime
    answered_at: datetime
    outcome: Outcome
    request: Buffer
    response: Buffer
    transcript: str = ""
    message_id: UUID | None = None
    attempt: int = 0


def encode_exchange(exchange: Exchange) -> bytes:
    """Return the record of an exchange."""
    return b"".join(encode_exchange_parts(exchange))


def encode_exchange_parts(exchange: Exchange) -> tuple[Buffer, ...]:
    """Return the same record in parts, to be put one after the other: frames may be large, and are not copied.

    The first part is all that comes before the frames.
    """
    request, response = exchange.request, exchange.response
    return _facts(exchange), _bin_header(len(request)), request, _bin_header(len(response)), response


def decode_exchange(record: Buffer) -> Exchange:
    """Return the exchange in a record.

    Raises:
        RecordError: the record is not readable, of an unknown version, or one of its fields is not what it must be.
    """
    size, version = _opening(record)
    fields_of_version = _FIELDS.get(version)
    if fields_of_version is None:
        *others, last = map(str, _FIELDS)
        known = f"{', '.join(others)} and {last}"
        raise RecordError("record_version_unknown", f"the record has version {version}; this reader knows {known}")
    if size != fields_of_version:
        raise RecordError("record_field_invalid", f"the record has {size} fields instead of {fields_of_version}")
    _, id_, session_id, client_id, time_zone, received_at, answered_at, outcome, *more, request, response = _unpack(
        record, fields_of_version
    )
    known_outcome = _OUTCOMES.get(_text("outcome", outcome, MAX_TIME_ZONE))
    if known_outcome is None:
        raise RecordError("record_field_invalid", f"outcome: {outcome!r:.40} is not known")
    shortest = 0 if version == MESSAGE_ID_VERSION else 1
    return Exchange(
        id=UUID(bytes=_uuid("id", id_)),
        session_id=_session(_uuid("session_id", session_id)),
        client_id=_text("client_id", client_id, MAX_CLIENT_ID),
        time_zone=_text("time_zone", time_zone, MAX_TIME_ZONE),
        received_at=_moment("received_at", received_at),
        answered_at=_moment("answered_at", answered_at),
        outcome=known_outcome,
        request=_frame("request", request),
        response=_frame("response", response),
        transcript=_text("transcript", more[0], MAX_TRANSCRIPT, shortest) if more else "",
        message_id=_message_id(more[1]) if version == MESSAGE_ID_VERSION else None,
        attempt=_attempt(more[2]) if version == MESSAGE_ID_VERSION else 0,
    )


def encode_batch(records: Iterable[bytes]) -> bytes:
    """Join encoded records."""
    packed: bytes = msgpack.packb(list(records))
    return packed


def batch_header(records: int) -> bytes:
    """Return what a batch of so many records begins with, for a batch that is never in memory as a whole."""
    packed: bytes = _PACKER.pack_array_header(records)
    return packed


def record_header(size: int) -> bytes:
    """Return what stands in a batch before a record of so many bytes."""
    return _bin_header(size)


def decode_batch(batch: Buffer, *, max_bytes: int = MAX_RECORD_BYTES) -> list[bytes]:
    """Return the records of a batch, each still encoded.

    Raises:
        RecordError: this is not a batch, or it is over `max_bytes`.
    """
    if len(batch) > max_bytes:
        raise RecordError("record_unreadable", f"the batch has {len(batch)} bytes; the limit is {max_bytes}")
    records = _unpack(batch, MAX_BATCH_RECORDS)
    if not all(isinstance(record, bytes) for record in records):
        raise RecordError("record_unreadable", "a batch is an array of byte strings")
    return records


def _opening(record: Buffer) -> tuple[int, int]:
    """Return how many fields a record has, and its version: all that is known of the records of another version."""
    if record[: len(_OPENING)] == _OPENING:
        return _FIELDS[
            EXCHANGE_VERSION
        ], EXCHANGE_VERSION  # nearly always; to look with an unpacker takes longer than all the rest
    unpacker = msgpack.Unpacker(max_map_len=0, max_ext_len=0)
    unpacker.feed(record[:_OPENING_BYTES])
    try:
        size = unpacker.read_array_header()
        version = unpacker.unpack() if size else None
    except (ValueError, msgpack.UnpackException) as exc:
        raise RecordError("record_unreadable", "the bytes are not an array that begins with a version") from exc
    if not isinstance(version, int) or isinstance(version, bool):
        raise RecordError("record_unreadable", "the record does not begin with a version")
    return size, version


def _unpack(packed: Buffer, longest: int) -> list[Any]:
    """Return the one array, of at most `longest`, that these bytes are; what it holds is still to be checked."""
    try:
        # Without limits each hostile byte could cost the eight of a list element, or nest.
        value = msgpack.unpackb(packed, max_array_len=longest, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException, RecursionError) as exc:
        raise RecordError("record_unreadable", "the bytes are not MessagePack") from exc
    if not isinstance(value, list):
        raise RecordError("record_unreadable", "the bytes are not an array")
    return value


def _facts(exchange: Exchange) -> bytes:
    """Return what a record has before the frames."""
    version = EXCHANGE_VERSION
    more: tuple[str | bytes | int, ...] = ()
    if exchange.message_id is not None:
        version = MESSAGE_ID_VERSION
        more = exchange.transcript, exchange.message_id.bytes, exchange.attempt
    elif exchange.transcript:
        version = TRANSCRIPT_VERSION
        more = (exchange.transcript,)
    packed: bytes = _PACKER.pack(
        (
            version,
            exchange.id.bytes,
            exchange.session_id.bytes,
            exchange.client_id,
            exchange.time_zone,
            _microseconds(exchange.received_at),
            _microseconds(exchange.answered_at),
            exchange.outcome,
            *more,
            *_NO_FRAMES,
        )
    )
    return packed[: -len(_NO_FRAMES) * len(_bin_header(0))]


def _bin_header(size: int) -> bytes:
    """Return what MessagePack has before so many bytes; its own packer writes it only together with them."""
    for code, width in ((b"\xc4", 1), (b"\xc5", 2), (b"\xc6", 4)):
        if size < 1 << 8 * width:
            return code + size.to_bytes(width)
    raise OverflowError(f"{size} bytes are more than MessagePack can hold")


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(name: str, value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RecordError("record_field_invalid", f"{name}: must be microseconds since 1970")
    try:
        return _EPOCH + timedelta(microseconds=value)
    except OverflowError as exc:
        raise RecordError("record_field_invalid", f"{name}: too far in the future") from exc


def _uuid(name: str, value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != 16:  # noqa: PLR2004 - the size of a UUID
        raise RecordError("record_field_invalid", f"{name}: must be a UUID in 16 bytes")
    return value


@lru_cache(maxsize=1024)
def _session(value: bytes) -> UUID:
    """Return the id of a session: the same object for its many exchanges, cheaper to make and to compare."""
    return UUID(bytes=value)


def _message_id(value: object) -> UUID:
    message_id = UUID(bytes=_uuid("message_id", value))
    if not message_id.int:
        raise RecordError("record_field_invalid", "message_id: must not be nil")
    return message_id


def _attempt(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_ATTEMPT:
        raise RecordError("record_field_invalid", f"attempt: must be an integer from 0 to {MAX_ATTEMPT}")
    return value


def _text(name: str, value: object, longest: int, shortest: int = 1) -> str:
    if not isinstance(value, str) or not shortest <= len(value) <= longest:
        raise RecordError("record_field_invalid", f"{name}: must be a string of {shortest} to {longest} characters")
    return value


def _frame(name: str, value: object) -> bytes:
    if not isinstance(value, bytes) or not value:
        raise RecordError("record_field_invalid", f"{name}: must be a frame")
    return value
