"""Every shared test vector, both ways. The JavaScript client runs the same files."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from frameproto import (
    DEFAULT_MAX_FRAME_BYTES,
    FrameError,
    Request,
    RequestKind,
    Response,
    ResponseKind,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from frameproto.exchange import (
    EXCHANGE_VERSION,
    MAX_BATCH_RECORDS,
    MESSAGE_ID_VERSION,
    TRANSCRIPT_VERSION,
    Exchange,
    RecordError,
    decode_batch,
    decode_exchange,
    encode_batch,
    encode_exchange,
)
from frameproto.kinds import Outcome
from tests.frameproto.vectors import cases, leaves, limit, load, unhex

FILES = ("requests.json", "responses.json", "v2_client.json", "v2_server.json")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request_of(vector: dict[str, Any]) -> Request:
    body = vector["text"].encode() if "text" in vector else unhex(vector["body"])
    return Request(RequestKind(vector["kind"]), body)


def response_of(vector: dict[str, Any]) -> Response:
    voice, image = (unhex(vector.get(part, "")) for part in ("voice", "image"))
    return Response(ResponseKind(vector["kind"]), vector["text"], voice, image)


def exchange_of(vector: dict[str, Any]) -> Exchange:
    return Exchange(
        id=UUID(vector["id"]),
        session_id=UUID(vector["session_id"]),
        client_id=vector["client_id"],
        time_zone=vector["time_zone"],
        received_at=EPOCH + timedelta(microseconds=vector["received_at"]),
        answered_at=EPOCH + timedelta(microseconds=vector["answered_at"]),
        outcome=Outcome(vector["outcome"]),
        request=unhex(vector["request"]),
        response=unhex(vector["response"]),
        transcript=vector.get("transcript", ""),
        message_id=UUID(vector["message_id"]) if "message_id" in vector else None,
        attempt=vector.get("attempt", 0),
    )


@pytest.mark.parametrize("vector", cases("requests.json", "valid"))
def test_request(vector: dict[str, Any]) -> None:
    frame = unhex(vector["hex"])
    request = decode_request(frame, **limit(vector))
    assert request == request_of(vector)
    assert encode_request(request_of(vector)) == frame
    if "text" in vector:
        assert request.text == vector["text"]


@pytest.mark.parametrize("vector", cases("requests.json", "invalid"))
def test_invalid_request(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        decode_request(unhex(vector["hex"]), **limit(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("requests.json", "unencodable"))
def test_unencodable_request(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        encode_request(request_of(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("responses.json", "valid"))
def test_response(vector: dict[str, Any]) -> None:
    frame = unhex(vector["hex"])
    response = decode_response(frame, **limit(vector))
    assert response == response_of(vector)
    assert encode_response(response_of(vector)) == frame
    if response.kind is ResponseKind.ERROR:
        assert (response.error_code, response.error_message) == (vector["error_code"], vector["error_message"])


@pytest.mark.parametrize("vector", cases("responses.json", "invalid"))
def test_invalid_response(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        decode_response(unhex(vector["hex"]), **limit(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("responses.json", "unencodable"))
def test_unencodable_response(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        encode_response(response_of(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("exchanges.json", "valid"))
def test_exchange(vector: dict[str, Any]) -> None:
    assert decode_exchange(unhex(vector["hex"])) == exchange_of(vector)
    assert encode_exchange(exchange_of(vector)) == unhex(vector["hex"])


@pytest.mark.parametrize("vector", cases("exchanges.json", "readable"))
def test_exchange_that_another_writer_packed(vector: dict[str, Any]) -> None:
    assert decode_exchange(unhex(vector["hex"])) == exchange_of(vector)


@pytest.mark.parametrize("vector", cases("exchanges.json", "invalid"))
def test_invalid_exchange(vector: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as refused:
        decode_exchange(unhex(vector["hex"]))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("exchanges.json", "valid_batches"))
def test_batch(vector: dict[str, Any]) -> None:
    records = [unhex(record) for record in vector["records"]]
    assert decode_batch(unhex(vector["hex"])) == records
    assert encode_batch(records) == unhex(vector["hex"])


@pytest.mark.parametrize("vector", cases("exchanges.json", "invalid_batches"))
def test_invalid_batch(vector: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as refused:
        decode_batch(unhex(vector["hex"]), **limit(vector))
    assert refused.value.code == vector["code"]


def test_every_code_of_the_exception_tree_has_a_vector() -> None:
    codes = {vector["code"] for file in FILES for vector in load(file)["invalid"]}
    assert codes == {leaf.code for leaf in leaves()}


def test_every_kind_has_a_valid_vector() -> None:
    assert {vector["kind"] for vector in load("requests.json")["valid"]} == set(RequestKind)
    assert {vector["kind"] for vector in load("responses.json")["valid"]} == set(ResponseKind)


@pytest.mark.parametrize("file", [*FILES, "exchanges.json"])
def test_names_are_unique_within_a_group(file: str) -> None:
    groups = [group for group in load(file).values() if isinstance(group, list)]
    assert groups
    for group in groups:
        assert Counter(vector["name"] for vector in group).most_common(1)[0][1] == 1


def test_the_files_state_the_limits_of_the_code() -> None:
    assert {load(file)["max_bytes"] for file in FILES} == {DEFAULT_MAX_FRAME_BYTES}
    exchanges = load("exchanges.json")
    assert (exchanges["version"], exchanges["max_batch_records"]) == (EXCHANGE_VERSION, MAX_BATCH_RECORDS)
    assert exchanges["transcript_version"] == TRANSCRIPT_VERSION
    assert exchanges["message_id_version"] == MESSAGE_ID_VERSION
