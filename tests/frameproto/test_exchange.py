"""The exchange record: round trips, versions, batches, limits, and whatever else may arrive instead."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameproto import DEFAULT_MAX_FRAME_BYTES, encode_request, encode_response
from frameproto.connection import MAX_CLIENT_ID
from frameproto.exchange import (
    EXCHANGE_VERSION,
    MAX_ATTEMPT,
    MAX_BATCH_RECORDS,
    MAX_RECORD_BYTES,
    MAX_TIME_ZONE,
    MAX_TRANSCRIPT,
    MESSAGE_ID_VERSION,
    TRANSCRIPT_VERSION,
    Exchange,
    RecordError,
    batch_header,
    decode_batch,
    decode_exchange,
    encode_batch,
    encode_exchange,
    encode_exchange_parts,
    record_header,
)
from frameproto.kinds import Outcome
from tests.frameproto.frames import every_single_mutation, mutations, requests, responses
from tests.support.exchanges import exchange

CODES = {"record_unreadable", "record_version_unknown", "record_field_invalid"}
LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC)

times = st.datetimes(datetime(1970, 1, 1), LAST_MOMENT.replace(tzinfo=None), timezones=st.just(UTC))  # noqa: DTZ001
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
plain_exchanges = st.builds(
    Exchange,
    id=st.uuids(),
    session_id=st.uuids(),
    client_id=names,
    time_zone=names,
    received_at=times,
    answered_at=times,
    outcome=st.sampled_from(Outcome),
    request=requests.map(encode_request),
    response=responses.map(encode_response),
    transcript=st.just("") | names,
    message_id=st.none(),
    attempt=st.just(0),
)
exchanges = plain_exchanges | st.tuples(plain_exchanges, st.uuids(allow_nil=False), st.integers(0, MAX_ATTEMPT)).map(
    lambda drawn: drawn[0]._replace(message_id=drawn[1], attempt=drawn[2])
)

packable = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refusal(decode: Callable[[bytes], object], packed: bytes) -> RecordError | None:
    """Why this cannot be decoded; any other exception is a failure of the test."""
    try:
        decode(packed)
    except RecordError as exc:
        return exc
    return None


@given(exchanges)
def test_an_exchange_survives(original: Exchange) -> None:
    assert decode_exchange(encode_exchange(original)) == original


@given(exchanges)
def test_its_parts_are_the_same_record_and_large_frames_stay_where_they_are(original: Exchange) -> None:
    parts = encode_exchange_parts(original)
    assert b"".join(parts) == encode_exchange(original)
    assert parts[2] is original.request
    assert parts[4] is original.response


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("records", [0, 1, 15, 16])
def test_a_batch_may_be_put_together_from_headers(size: int, records: int) -> None:
    record = bytes(size)
    pieces = [batch_header(records), *[record_header(size) + record] * records]
    assert b"".join(pieces) == encode_batch([record] * records)


def test_a_record_has_less_than_four_gibibytes() -> None:
    assert record_header((1 << 32) - 1) == b"\xc6\xff\xff\xff\xff"
    with pytest.raises(OverflowError):
        record_header(1 << 32)


@pytest.mark.parametrize("buffer", [bytearray, memoryview], ids=lambda buffer: buffer.__name__)
def test_frames_may_be_views_and_so_may_the_record(buffer: type[bytearray] | type[memoryview]) -> None:
    original = exchange("hello")
    seen = original._replace(request=buffer(original.request), response=buffer(original.response))
    assert decode_exchange(buffer(encode_exchange(seen))) == original


def test_a_decoded_exchange_keeps_nothing_of_the_buffer_it_came_from() -> None:
    record = bytearray(encode_exchange(exchange("hello")))
    decoded = decode_exchange(record)
    record[:] = bytes(len(record))
    assert decoded.request == exchange("hello").request


def test_a_time_is_kept_to_the_microsecond_as_utc() -> None:
    local = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=7)))
    decoded = decode_exchange(encode_exchange(exchange(at=local)))
    assert decoded.received_at == local
    assert decoded.received_at.tzinfo is UTC


def test_a_record_of_the_largest_frames_survives() -> None:
    original = exchange()._replace(request=b"\x01" * DEFAULT_MAX_FRAME_BYTES, response=b"r" * DEFAULT_MAX_FRAME_BYTES)
    record = encode_exchange(original)
    assert len(record) < MAX_RECORD_BYTES
    assert decode_exchange(record) == original


def test_a_record_begins_with_its_version() -> None:
    assert msgpack.unpackb(encode_exchange(exchange()))[0] == EXCHANGE_VERSION


@pytest.mark.parametrize("rest", [[], [None], [b""] * 9, [b""] * 10, [{}] * 20], ids=lambda rest: f"{len(rest)} fields")
@pytest.mark.parametrize("version", [0, 4, 127, 128, 1 << 63])
def test_a_record_of_another_version_is_known_as_such_whatever_follows(version: int, rest: list[Any]) -> None:
    with pytest.raises(RecordError, match=f"has version {version}; this reader knows 1, 2 and 3") as refused:
        decode_exchange(msgpack.packb([version, *rest]))
    assert refused.value.code == "record_version_unknown"


FIELDS = [name for name in exchange()._asdict() if name not in {"transcript", "message_id", "attempt"}]
WRONG: dict[str, list[Any]] = {
    "id": [None, "0" * 16, b"", b"0" * 15, b"0" * 17, 0],
    "session_id": [None, "0" * 16, b"0" * 17, []],
    "client_id": [None, "", b"anna", "c" * (MAX_CLIENT_ID + 1), 5],
    "time_zone": [None, "", b"UTC", "z" * (MAX_TIME_ZONE + 1), 2.5],
    "received_at": [None, -1, True, 1.5, "0", (1 << 64) - 1],
    "answered_at": [None, -1, False, 1.5, b"", 1 << 62],
    "outcome": [None, "", "Answered", "delivered", 0, b"answered", ["answered"]],
    "request": [None, b"", "hello", 0],
    "response": [None, b"", "hello", [b"hello"]],
}


def test_every_field_is_tried() -> None:
    assert list(WRONG) == FIELDS


@pytest.mark.parametrize(
    ("name", "value"),
    [pytest.param(name, bad, id=f"{name}={bad!r:.20}") for name, values in WRONG.items() for bad in values],
)
def test_a_wrong_field_is_refused_by_name(name: str, value: object) -> None:
    fields = msgpack.unpackb(encode_exchange(exchange()))
    fields[1 + FIELDS.index(name)] = value
    with pytest.raises(RecordError, match=rf"^{name}: \S") as refused:
        decode_exchange(msgpack.packb(fields))
    assert refused.value.code == "record_field_invalid"
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize("count", [1, 9, 11, 1000])
def test_a_record_has_ten_fields(count: int) -> None:
    fields = [*msgpack.unpackb(encode_exchange(exchange())), *[b""] * 1000][:count]
    with pytest.raises(RecordError, match=f"{count} fields instead of 10") as refused:
        decode_exchange(msgpack.packb(fields))
    assert refused.value.code == "record_field_invalid"


def test_a_record_without_a_transcript_can_be_read_by_those_who_know_none() -> None:
    assert msgpack.unpackb(encode_exchange(exchange()))[0] == 1
    assert msgpack.unpackb(encode_exchange(exchange()._replace(transcript="said")))[0] == TRANSCRIPT_VERSION


@pytest.mark.parametrize("attempt", [0, 1_772_355_600_000_001])
@pytest.mark.parametrize("transcript", ["", "said"])
def test_a_message_id_is_kept_with_and_without_a_transcript(transcript: str, attempt: int) -> None:
    original = exchange()._replace(transcript=transcript, message_id=uuid4(), attempt=attempt)
    record = encode_exchange(original)
    assert msgpack.unpackb(record)[0] == MESSAGE_ID_VERSION
    assert decode_exchange(record) == original
    assert b"".join(encode_exchange_parts(original)) == record


@pytest.mark.parametrize(
    "message_id", [None, b"", bytes(15), bytes(16), str(UUID(int=7)), 7], ids=lambda bad: f"{bad!r:.9}"
)
def test_a_wrong_message_id_is_refused_by_name(message_id: object) -> None:
    fields = msgpack.unpackb(encode_exchange(exchange()._replace(message_id=uuid4())))
    fields[9] = message_id
    with pytest.raises(RecordError, match=r"^message_id: \S") as refused:
        decode_exchange(msgpack.packb(fields))
    assert refused.value.code == "record_field_invalid"


@pytest.mark.parametrize("attempt", [None, -1, MAX_ATTEMPT + 1, True, 1.0, "1"], ids=lambda bad: f"{bad!r:.9}")
def test_a_wrong_attempt_is_refused_by_name(attempt: object) -> None:
    fields = msgpack.unpackb(encode_exchange(exchange()._replace(message_id=uuid4())))
    fields[10] = attempt
    with pytest.raises(RecordError, match=r"^attempt: \S") as refused:
        decode_exchange(msgpack.packb(fields))
    assert refused.value.code == "record_field_invalid"


@pytest.mark.parametrize(
    "transcript", ["", None, b"said", 1, "t" * (MAX_TRANSCRIPT + 1)], ids=lambda bad: f"{bad!r:.9}"
)
def test_a_wrong_transcript_is_refused_by_name(transcript: object) -> None:
    fields = msgpack.unpackb(encode_exchange(exchange()._replace(transcript="said")))
    fields[8] = transcript
    with pytest.raises(RecordError, match=r"^transcript: \S") as refused:
        decode_exchange(msgpack.packb(fields))
    assert refused.value.code == "record_field_invalid"


@pytest.mark.parametrize("depth", [100, 5000, 100_000])
@pytest.mark.parametrize("opening", [b"\x91", b"\x9a\x01" + b"\x91", b"\x81\xc0"], ids=bytes.hex)
def test_nesting_exhausts_nothing(opening: bytes, depth: int) -> None:
    for decode in (decode_exchange, decode_batch):
        refused = refusal(decode, opening + b"\x91" * depth)
        assert refused is not None
        assert refused.code == "record_unreadable"


@pytest.mark.parametrize("value", [{"a": 1}, msgpack.ExtType(1, b"a")], ids=["map", "extension"])
def test_a_record_has_no_maps_and_no_extensions(value: object) -> None:
    fields = msgpack.unpackb(encode_exchange(exchange()))
    fields[1 + FIELDS.index("client_id")] = value
    refused = refusal(decode_exchange, msgpack.packb(fields))
    assert refused is not None
    assert refused.code == "record_unreadable"


@pytest.mark.parametrize("claim", ["array dd", "bytes c6", "string db", "map df", "extension c9"])
def test_a_record_cannot_claim_more_than_it_has_bytes(claim: str) -> None:
    header = bytes.fromhex(claim.split()[1]) + b"\xff\xff\xff\xff\x01"
    for packed in (header, b"\x9a\x01" + header):
        refused = refusal(decode_exchange, packed)
        assert refused is not None
        assert refused.code in {"record_unreadable", "record_field_invalid"}


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_a_batch_survives(records: list[bytes]) -> None:
    assert decode_batch(encode_batch(records)) == records


def test_a_batch_may_be_a_view() -> None:
    batch = b"...." + encode_batch([b"one", b"two"])
    assert decode_batch(memoryview(batch)[4:]) == [b"one", b"two"]


def test_one_bad_record_does_not_spoil_the_others() -> None:
    good = encode_exchange(exchange("good"))
    first, second, third = decode_batch(encode_batch([good, b"\xc1", good]))
    assert decode_exchange(first) == decode_exchange(third)
    assert refusal(decode_exchange, second)


def test_a_batch_is_made_of_any_iterable() -> None:
    assert decode_batch(encode_batch(record for record in (b"one", b"two"))) == [b"one", b"two"]


@pytest.mark.parametrize(("count", "fits"), [(MAX_BATCH_RECORDS, True), (MAX_BATCH_RECORDS + 1, False)])
def test_a_batch_has_a_limited_number_of_records(count: int, fits: bool) -> None:
    assert (refusal(decode_batch, encode_batch([b""] * count)) is None) == fits


def test_a_batch_has_a_limited_size() -> None:
    batch = encode_batch([b"12345"])
    assert decode_batch(batch, max_bytes=len(batch)) == [b"12345"]
    with pytest.raises(RecordError, match=f"has {len(batch)} bytes; the limit is {len(batch) - 1}"):
        decode_batch(batch, max_bytes=len(batch) - 1)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_record_or_refused(packed: bytes) -> None:
    for decode in (decode_exchange, decode_batch):
        refused = refusal(decode, packed)
        assert refused is None or refused.code in CODES


@given(packable)
def test_any_messagepack_is_a_record_or_refused(value: object) -> None:
    for decode in (decode_exchange, decode_batch):
        for packed in (msgpack.packb(value), msgpack.packb([1, value]), msgpack.packb([1, *[value] * 9])):
            refused = refusal(decode, packed)
            assert refused is None or refused.code in CODES


@settings(max_examples=500)
@given(mutations(exchanges.map(encode_exchange)))
def test_a_mutated_record_is_a_record_or_refused(packed: bytes) -> None:
    refused = refusal(lambda record: encode_exchange(decode_exchange(record)), packed)
    assert refused is None or refused.code in CODES


def test_every_single_mutation_of_a_record_is_a_record_or_refused() -> None:
    for packed in every_single_mutation(encode_exchange(exchange())):
        refused = refusal(lambda record: decode_exchange(encode_exchange(decode_exchange(record))), packed)
        assert refused is None or refused.code in CODES


def test_a_record_error_says_its_code() -> None:
    refused = refusal(decode_exchange, b"\xc1")
    assert isinstance(refused, ValueError)
    assert refused.code == "record_unreadable"
    assert str(refused)
