"""Requests: no copies, limits, and errors that say what is wrong."""

import re

import pytest

from frameproto import (
    DEFAULT_MAX_FRAME_BYTES,
    BodyEmpty,
    Buffer,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    KindUnknown,
    Request,
    RequestKind,
    TextInvalid,
    decode_request,
    encode_request,
)
from frameproto.errors import __doc__ as tree
from tests.frameproto.vectors import leaves

VOICE = b"\x01\xff\xfb\x90\xc4"
BUFFERS = [pytest.param(kind, id=kind.__name__) for kind in (bytes, bytearray, memoryview)]


@pytest.mark.parametrize("buffer", BUFFERS)
def test_every_kind_of_buffer_can_be_decoded(buffer: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    request = decode_request(buffer(VOICE))
    assert request == Request(RequestKind.VOICE, VOICE[1:])
    assert encode_request(request) == VOICE


@pytest.mark.parametrize("buffer", BUFFERS)
def test_every_kind_of_buffer_can_be_encoded(buffer: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    assert encode_request(Request(RequestKind.VOICE, buffer(VOICE[1:]))) == VOICE


def test_the_body_is_a_view_of_the_frame() -> None:
    frame = bytearray(VOICE)
    body = decode_request(frame).body
    assert isinstance(body, memoryview)
    assert body.obj is frame
    frame[1] = 0
    assert body[0] == 0


def test_a_view_of_a_larger_buffer_is_decoded_in_place() -> None:
    received = b"....." + VOICE + b"....."
    body = decode_request(memoryview(received)[5:-5]).body
    assert isinstance(body, memoryview)
    assert body.obj is received
    assert body == VOICE[1:]


def test_a_request_cannot_be_changed() -> None:
    request = Request(RequestKind.TEXT, b"Hello")
    with pytest.raises(AttributeError):
        request.body = b"Bye"  # type: ignore[misc]


def test_text_is_read_from_any_buffer() -> None:
    assert decode_request(bytearray("\0Größe".encode())).text == "Größe"


@pytest.mark.parametrize("kind", [RequestKind.VOICE, RequestKind.VIDEO])
def test_a_request_of_media_that_is_not_utf_8_has_no_text(kind: RequestKind) -> None:
    with pytest.raises(TextInvalid):
        _ = Request(kind, b"\xff").text


@pytest.mark.parametrize(
    ("size", "max_bytes", "fits"), [(5, 5, True), (6, 5, False), (1, 0, False), (1024, 1 << 40, True)]
)
def test_the_limit_counts_the_whole_frame(size: int, max_bytes: int, fits: bool) -> None:
    frame = b"\x01" * size
    if fits:
        assert len(decode_request(frame, max_bytes=max_bytes).body) == size - 1
    else:
        with pytest.raises(FrameTooLarge):
            decode_request(frame, max_bytes=max_bytes)


def test_the_usual_limit_is_16_mib() -> None:
    assert DEFAULT_MAX_FRAME_BYTES == 16 * 1024 * 1024
    frame = bytes([RequestKind.VIDEO]) * (DEFAULT_MAX_FRAME_BYTES + 1)
    assert len(decode_request(memoryview(frame)[1:]).body) == DEFAULT_MAX_FRAME_BYTES - 1
    with pytest.raises(FrameTooLarge):
        decode_request(frame)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        pytest.param(b"", FrameEmpty, "no bytes; it needs a kind and a body", id="empty"),
        pytest.param(b"\x00", BodyEmpty, "a kind but no body", id="no body"),
        pytest.param(b"\x09abc", KindUnknown, "9 is not a kind of request; 0 is text, 1 is voice", id="kind"),
        pytest.param(b"\x00ab\xffd", TextInvalid, "not valid UTF-8 at byte 2", id="text"),
        pytest.param(b"\x00" * 101, FrameTooLarge, "101 bytes; the limit is 100", id="size"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(frame: Buffer, error: type[FrameError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as refused:
        decode_request(frame, max_bytes=100)
    assert refused.type is error


def test_errors_are_value_errors_and_the_fault_of_the_peer() -> None:
    assert issubclass(FrameError, ValueError)
    assert {leaf.fault for leaf in leaves()} == {"peer"}


def test_every_error_has_a_stable_code_of_its_own() -> None:
    codes = [leaf.code for leaf in leaves()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"frame_[a-z_]+", code) for code in codes)
    assert FrameError.code not in codes


def test_the_tree_at_the_head_of_the_module_is_the_tree() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\w+)", tree or ""))
    assert drawn == {leaf.__name__: leaf.code for leaf in leaves()}


@pytest.mark.parametrize("error", leaves(), ids=lambda error: error.code)
def test_the_docstring_of_an_error_is_its_message(error: type[FrameError]) -> None:
    assert str(error()) == error.__doc__
    assert str(error("something else")) == "something else"
