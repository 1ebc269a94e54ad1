"""Frames of v2: every shared vector both ways, what wraps a frame of v1, and what hostile peers send."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frameproto import (
    FrameError,
    PartUnexpected,
    Request,
    RequestKind,
    Response,
    ResponseKind,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    error_response,
)
from frameproto.v2 import (
    ENVELOPE_BYTES,
    NO_MESSAGE,
    Cancel,
    ClientFrame,
    ClientType,
    MessageRequest,
    MessageResponse,
    Piece,
    Progress,
    ServerFrame,
    ServerType,
    Status,
    decode_client_frame,
    decode_server_frame,
    encode_client_frame,
    encode_server_frame,
    envelope,
    message_id_of,
    payload,
)
from tests.frameproto.frames import every_single_mutation, mutations, requests, responses, texts
from tests.frameproto.test_vectors import request_of, response_of
from tests.frameproto.vectors import cases, limit, load, unhex

ID = UUID("0197b0c8-0000-7000-8000-00000000000a")

ids = st.uuids(allow_nil=False)
client_frames: st.SearchStrategy[ClientFrame] = st.one_of(
    st.builds(MessageRequest, ids, requests, st.booleans()), st.builds(Cancel, ids)
)
server_frames: st.SearchStrategy[ServerFrame] = st.one_of(
    st.builds(MessageResponse, ids, responses),
    st.builds(Piece, ids, texts),
    st.builds(Status, ids, st.sampled_from(Progress)),
)


def client_frame_of(vector: dict[str, Any]) -> ClientFrame:
    message_id, kind = UUID(vector["message_id"]), ClientType(vector["type"])
    if kind is ClientType.CANCEL:
        return Cancel(message_id)
    return MessageRequest(message_id, request_of(vector), kind is ClientType.AGAIN)


def server_frame_of(vector: dict[str, Any]) -> ServerFrame:
    message_id = UUID(vector["message_id"])
    match ServerType(vector["type"]):
        case ServerType.RESPONSE:
            return MessageResponse(message_id, response_of(vector))
        case ServerType.PIECE:
            return Piece(message_id, vector["text"])
        case ServerType.STATUS:
            return Status(message_id, Progress(vector["progress"]))


@pytest.mark.parametrize("vector", cases("v2_client.json", "valid"))
def test_client_frame(vector: dict[str, Any]) -> None:
    frame = unhex(vector["hex"])
    assert decode_client_frame(frame, **limit(vector)) == client_frame_of(vector)
    assert encode_client_frame(client_frame_of(vector)) == frame


@pytest.mark.parametrize("vector", cases("v2_client.json", "invalid"))
def test_invalid_client_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        decode_client_frame(unhex(vector["hex"]), **limit(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("v2_client.json", "unencodable"))
def test_unencodable_client_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        encode_client_frame(client_frame_of(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("v2_server.json", "valid"))
def test_server_frame(vector: dict[str, Any]) -> None:
    frame = unhex(vector["hex"])
    assert decode_server_frame(frame, **limit(vector)) == server_frame_of(vector)
    assert encode_server_frame(server_frame_of(vector)) == frame


@pytest.mark.parametrize("vector", cases("v2_server.json", "invalid"))
def test_invalid_server_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        decode_server_frame(unhex(vector["hex"]), **limit(vector))
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("vector", cases("v2_server.json", "unencodable"))
def test_unencodable_server_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(FrameError) as refused:
        encode_server_frame(server_frame_of(vector))
    assert refused.value.code == vector["code"]


def test_every_type_and_status_has_a_valid_vector() -> None:
    assert {vector["type"] for vector in load("v2_client.json")["valid"]} == set(ClientType)
    assert {vector["type"] for vector in load("v2_server.json")["valid"]} == set(ServerType)
    statuses = [vector["progress"] for vector in load("v2_server.json")["valid"] if "progress" in vector]
    assert sorted(statuses) == list(Progress)


@pytest.mark.parametrize("vector", cases("requests.json", "valid", "invalid"))
def test_every_request_of_v1_means_the_same_behind_an_envelope(vector: dict[str, Any]) -> None:
    inner = unhex(vector["hex"])
    frame = envelope(ClientType.REQUEST, ID) + inner
    if "code" not in vector:
        found = decode_client_frame(frame, max_bytes=len(frame))
        assert found == MessageRequest(ID, decode_request(inner, max_bytes=len(inner)))
        assert payload(frame) == inner
        return
    with pytest.raises(FrameError) as refused:
        decode_client_frame(
            frame, max_bytes=vector.get("max_bytes", load("requests.json")["max_bytes"]) + ENVELOPE_BYTES
        )
    assert refused.value.code == ("frame_truncated" if vector["code"] == "frame_empty" else vector["code"])


@pytest.mark.parametrize("vector", cases("responses.json", "valid"))
def test_every_response_of_v1_means_the_same_behind_an_envelope(vector: dict[str, Any]) -> None:
    inner = unhex(vector["hex"])
    frame = envelope(ServerType.RESPONSE, ID) + inner
    found = decode_server_frame(frame, max_bytes=len(frame))
    assert found == MessageResponse(ID, decode_response(inner, max_bytes=len(inner)))


def test_media_are_views_of_the_frame() -> None:
    frame = bytearray(encode_client_frame(MessageRequest(ID, Request(RequestKind.VOICE, b"abcd"))))
    asked = decode_client_frame(frame)
    assert isinstance(asked, MessageRequest)
    frame[-1] = ord("z")
    assert bytes(asked.request.body) == b"abcz"
    said = bytearray(encode_server_frame(MessageResponse(ID, Response(ResponseKind.VOICE, "Hi", b"abcd"))))
    answer = decode_server_frame(said)
    assert isinstance(answer, MessageResponse)
    said[-1] = ord("z")
    assert bytes(answer.response.voice) == b"abcz"


def test_an_encoded_frame_of_v1_gets_its_envelope_without_being_read() -> None:
    response = Response(ResponseKind.TEXT, "Hi")
    kept = encode_response(response)
    assert envelope(ServerType.RESPONSE, ID) + kept == encode_server_frame(MessageResponse(ID, response))
    request = Request(RequestKind.TEXT, b"Hi")
    frame = encode_client_frame(MessageRequest(ID, request, again=True))
    assert payload(frame) == encode_request(request)


@pytest.mark.parametrize(
    ("frame", "message_id"),
    [
        (b"", NO_MESSAGE),
        (b"\x00" + ID.bytes[:15], NO_MESSAGE),
        (b"\x00" + ID.bytes, ID),
        (b"\xff" + ID.bytes + b"garbage", ID),
        (bytes(17), NO_MESSAGE),
    ],
)
def test_the_id_that_an_error_names(frame: bytes, message_id: UUID) -> None:
    assert message_id_of(frame) == message_id
    assert message_id_of(memoryview(frame)) == message_id
    encode_server_frame(MessageResponse(message_id, error_response("frame_kind_unknown", "what is this?")))


@given(client_frames)
def test_client_frames_come_back(frame: ClientFrame) -> None:
    assert decode_client_frame(encode_client_frame(frame)) == frame


@given(server_frames)
def test_server_frames_come_back(frame: ServerFrame) -> None:
    assert decode_server_frame(encode_server_frame(frame)) == frame


@given(st.one_of(mutations(client_frames.map(encode_client_frame)), st.binary(max_size=64)))
def test_what_is_taken_for_a_client_frame_is_encoded_alike(frame: bytes) -> None:
    try:
        found = decode_client_frame(frame)
    except FrameError:
        return
    assert encode_client_frame(found) == frame


@given(st.one_of(mutations(server_frames.map(encode_server_frame)), st.binary(max_size=64)))
def test_what_is_taken_for_a_server_frame_is_encoded_alike(frame: bytes) -> None:
    try:
        found = decode_server_frame(frame)
    except FrameError:
        return
    assert encode_server_frame(found) == frame


def test_nothing_follows_a_cancel_or_a_status() -> None:
    for one in every_single_mutation(encode_client_frame(Cancel(ID))):
        if len(one) > ENVELOPE_BYTES and one[0] == ClientType.CANCEL:
            with pytest.raises(PartUnexpected):
                decode_client_frame(one)
    for progress in Progress:
        with pytest.raises(PartUnexpected):
            decode_server_frame(encode_server_frame(Status(ID, progress)) + b"\x00")


def test_a_new_id_is_valid() -> None:
    assert message_id_of(encode_client_frame(Cancel(new := uuid4()))) == new
