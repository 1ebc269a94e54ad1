"""What holds for every frame, every mutation of one, and any bytes at all."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameproto import (
    FrameError,
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
from tests.frameproto.frames import every_single_mutation, mutations, requests, responses
from tests.frameproto.vectors import leaves

REQUESTS = [
    Request(RequestKind.TEXT, "Grüße €😀".encode()),
    Request(RequestKind.VOICE, b"\xff\xfb\x90\xc4"),
    Request(RequestKind.VIDEO, b"\0\0\0\x10ftyp"),
]
RESPONSES = [
    Response(ResponseKind.TEXT, "Grüße €😀"),
    Response(ResponseKind.VOICE, "Hi", b"\xff\xfb\x90\xc4"),
    Response(ResponseKind.VIDEO, "Hi", b"\xff\xfb\x90\xc4", b"\xff\xd8\xff\xd9"),
    error_response("busy", "later"),
]
CODES = {leaf.code for leaf in leaves()}

DECODERS = pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda frame: encode_request(decode_request(frame)), id="request"),
        pytest.param(lambda frame: encode_response(decode_response(frame)), id="response"),
    ],
)
Again = Callable[[bytes], bytes]


def check(again: Again, frame: bytes) -> None:
    """There is one frame for one meaning: what decodes is encoded to the same bytes, and nothing else decodes."""
    refused = refusal(again, frame)
    assert refused is None or (refused.code in CODES and str(refused))


def refusal(again: Again, frame: bytes) -> FrameError | None:
    try:
        assert again(frame) == frame
    except FrameError as exc:
        return exc
    return None


@given(requests)
def test_a_request_survives_the_wire(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@given(responses)
def test_a_response_survives_the_wire(response: Response) -> None:
    assert decode_response(encode_response(response)) == response


@settings(max_examples=500)
@given(mutations(requests.map(encode_request)))
def test_a_mutated_request_is_a_frame_or_refused(frame: bytes) -> None:
    check(lambda mutated: encode_request(decode_request(mutated)), frame)


@settings(max_examples=500)
@given(mutations(responses.map(encode_response)))
def test_a_mutated_response_is_a_frame_or_refused(frame: bytes) -> None:
    check(lambda mutated: encode_response(decode_response(mutated)), frame)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.kind.name)
def test_every_single_mutation_of_a_request(request_: Request) -> None:
    for frame in every_single_mutation(encode_request(request_)):
        check(lambda mutated: encode_request(decode_request(mutated)), frame)


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.kind.name)
def test_every_single_mutation_of_a_response(response: Response) -> None:
    for frame in every_single_mutation(encode_response(response)):
        check(lambda mutated: encode_response(decode_response(mutated)), frame)


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.kind.name)
def test_the_sizes_of_a_response_leave_no_choice(response: Response) -> None:
    """Each other value of a size field near the right one, or near a power of two, changes the parts or is refused."""
    frame = encode_response(response)
    for at in (1, 5):
        right = int.from_bytes(frame[at : at + 4], "big")
        near = {right + step for step in range(-4, 5)} | {(1 << bit) + step for bit in range(33) for step in (-1, 0)}
        for size in near - {right}:
            if not 0 <= size < 1 << 32:
                continue
            other = frame[:at] + size.to_bytes(4, "big") + frame[at + 4 :]
            check(lambda mutated: encode_response(decode_response(mutated)), other)
            assert _parts(other) != response


def _parts(frame: bytes) -> Response | None:
    try:
        return decode_response(frame)
    except FrameError:
        return None


@DECODERS
@given(frame=st.binary(max_size=64))
def test_any_bytes_are_a_frame_or_refused(again: Again, frame: bytes) -> None:
    check(again, frame)


@DECODERS
@given(kind=st.integers(0, 4), text_size=st.integers(0, 12), voice_size=st.integers(0, 12), rest=st.binary(max_size=24))
def test_any_plausible_header_is_a_frame_or_refused(
    again: Again, kind: int, text_size: int, voice_size: int, rest: bytes
) -> None:
    check(again, bytes([kind]) + text_size.to_bytes(4, "big") + voice_size.to_bytes(4, "big") + rest)


@given(frame=st.binary(min_size=1, max_size=64), max_bytes=st.integers(0, 64))
def test_a_frame_over_the_limit_is_refused_for_that_whatever_else_is_wrong(frame: bytes, max_bytes: int) -> None:
    for again in (
        lambda received: encode_request(decode_request(received, max_bytes=max_bytes)),
        lambda received: encode_response(decode_response(received, max_bytes=max_bytes)),
    ):
        refused = refusal(again, frame)
        too_large = refused is not None and refused.code == "frame_too_large"
        assert too_large == (len(frame) > max_bytes)
