"""Responses: no copies of media, limits, and errors that say what is wrong."""

import mmap
import re
import struct

import pytest

from frameproto import (
    DEFAULT_MAX_FRAME_BYTES,
    BodyEmpty,
    ErrorTextInvalid,
    FrameError,
    FrameTooLarge,
    FrameTruncated,
    KindUnknown,
    PartMissing,
    PartUnexpected,
    Response,
    ResponseKind,
    TextInvalid,
    decode_response,
    encode_response,
    error_response,
)

VIDEO = bytes.fromhex("02 00000002 00000003 4869 fffb90 ffd8ffd9")
BUFFERS = [pytest.param(kind, id=kind.__name__) for kind in (bytes, bytearray, memoryview)]


def frame(kind: int, text: bytes, voice: bytes = b"", image: bytes = b"") -> bytes:
    return struct.pack(">BII", kind, len(text), len(voice)) + text + voice + image


@pytest.mark.parametrize("buffer", BUFFERS)
def test_every_kind_of_buffer_can_be_decoded(buffer: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    response = decode_response(buffer(VIDEO))
    assert response == Response(ResponseKind.VIDEO, "Hi", b"\xff\xfb\x90", b"\xff\xd8\xff\xd9")
    assert encode_response(response) == VIDEO


@pytest.mark.parametrize("buffer", BUFFERS)
def test_every_kind_of_buffer_can_be_encoded(buffer: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    response = Response(ResponseKind.VIDEO, "Hi", buffer(VIDEO[11:14]), buffer(VIDEO[14:]))
    assert encode_response(response) == VIDEO


def test_voice_and_image_are_views_of_the_frame() -> None:
    received = bytearray(VIDEO)
    response = decode_response(received)
    for part, at in ((response.voice, 11), (response.image, 14)):
        assert isinstance(part, memoryview)
        assert part.obj is received
        received[at] = 7
        assert part[0] == 7


def test_a_view_of_a_larger_buffer_is_decoded_in_place() -> None:
    received = b"....." + VIDEO + b"....."
    response = decode_response(memoryview(received)[5:-5])
    assert isinstance(response.image, memoryview)
    assert response.image.obj is received
    assert response.image == VIDEO[14:]


def test_a_response_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Response(ResponseKind.TEXT, "Hi").text = "Bye"  # type: ignore[misc]


@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)], ids=["at the limit", "one byte over"])
def test_the_limit_counts_the_whole_frame(over: int, fits: bool) -> None:
    largest = frame(ResponseKind.VOICE, b"Hi", bytes(DEFAULT_MAX_FRAME_BYTES - 11 + over))
    if fits:
        assert len(decode_response(largest).voice) == DEFAULT_MAX_FRAME_BYTES - 11
    else:
        with pytest.raises(FrameTooLarge, match=r"has 16777217 bytes; the limit is 16777216"):
            decode_response(largest)
    assert len(decode_response(largest, max_bytes=DEFAULT_MAX_FRAME_BYTES + 1).voice)


def test_a_voice_that_its_size_field_cannot_say_is_refused() -> None:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # read-only and never touched, so it takes no memory
    with mmap.mmap(-1, 1 << 32, flags, mmap.PROT_READ) as huge, memoryview(huge) as voice:
        response = Response(ResponseKind.VOICE, "Hi", voice)
        with pytest.raises(FrameTooLarge, match="4 GiB"):
            encode_response(response)
        del response


@pytest.mark.parametrize(
    ("received", "error", "message"),
    [
        pytest.param(b"\x04", KindUnknown, "4 is not a kind of response", id="kind"),
        pytest.param(b"\x00\x00", FrameTruncated, "9 bytes of header; the frame has 2", id="header"),
        pytest.param(frame(1, b"Hi", b"mp3")[:-1], FrameTruncated, "end at byte 14; the frame has 13", id="cut short"),
        pytest.param(frame(0, b""), BodyEmpty, "the response has no text", id="no text"),
        pytest.param(frame(0, b"ab\xff"), TextInvalid, "not valid UTF-8 at byte 2", id="text"),
        pytest.param(frame(0, b"Hi", b"mp3"), PartUnexpected, "a response of kind TEXT has no voice", id="voice"),
        pytest.param(frame(1, b"Hi", b"mp3", b"j"), PartUnexpected, "of kind VOICE has no image", id="image"),
        pytest.param(frame(3, b"a: b", b"", b"j"), PartUnexpected, "of kind ERROR has no image", id="error with more"),
        pytest.param(frame(1, b"Hi"), PartMissing, "a response of kind VOICE lacks its voice", id="no voice"),
        pytest.param(frame(2, b"Hi", b"mp3"), PartMissing, "of kind VIDEO lacks its image", id="no image"),
        pytest.param(frame(3, b"oops"), ErrorTextInvalid, 'not "code: message"', id="error"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(received: bytes, error: type[FrameError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as refused:
        decode_response(received)
    assert refused.type is error


def test_an_error_response_says_its_code_and_its_message() -> None:
    response = decode_response(encode_response(error_response("busy", "later: in a moment\nplease")))
    assert response.kind is ResponseKind.ERROR
    assert (response.error_code, response.error_message) == ("busy", "later: in a moment\nplease")


@pytest.mark.parametrize("code", ["", "Busy", "so busy", "2busy", "_busy", "busy:", "büsy", "b" * 65])
def test_an_error_response_needs_a_code_that_programs_can_read(code: str) -> None:
    with pytest.raises(ErrorTextInvalid):
        error_response(code, "later")


def test_only_an_error_response_has_a_code_and_a_message() -> None:
    response = Response(ResponseKind.TEXT, "busy: later")
    for name in ("error_code", "error_message"):
        with pytest.raises(AttributeError, match="kind TEXT is not an error"):
            getattr(response, name)


def test_half_of_a_surrogate_pair_cannot_be_sent() -> None:
    with pytest.raises(TextInvalid, match="lone surrogate"):
        encode_response(Response(ResponseKind.TEXT, "a\ud83d"))
