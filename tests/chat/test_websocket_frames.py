"""The short way for frames takes nothing that the parser of `websockets` would not take, and the same of it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from chat_service.websocket_frames import message_head, read_message, size_on_wire

MAX_BYTES = 70_000
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, MAX_BYTES]


def of_a_client(*frames: Frame) -> bytes:
    return b"".join(frame.serialize(mask=True) for frame in frames)


def parsed(data: bytes) -> list[Frame]:
    """What `websockets` makes of it."""
    server = Protocol(Side.SERVER, max_size=MAX_BYTES)
    server.receive_data(data)
    return [event for event in server.events_received() if isinstance(event, Frame)]


def shortly(data: bytes) -> tuple[list[bytes], int]:
    messages, at = [], 0
    while (found := read_message(data, at, MAX_BYTES)) is not None:
        message, at = found
        messages.append(message)
    return messages, at


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_message_is_read_as_the_parser_reads_it(size: int) -> None:
    data = of_a_client(Frame(Opcode.BINARY, b"x" * size))
    messages, at = shortly(data)
    if size <= 65_535:
        assert messages == [bytes(frame.data) for frame in parsed(data)]
        assert at == len(data)
    else:
        assert (messages, at) == ([], 0), "the parser takes the large ones"
    assert size_on_wire(Frame(Opcode.BINARY, b"x" * size)) == len(data)


@pytest.mark.parametrize("size", SIZES)
def test_our_messages_are_written_as_the_library_writes_them(size: int) -> None:
    assert message_head(size) + b"x" * size == Frame(Opcode.BINARY, b"x" * size).serialize(mask=False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x82", id="half a head"),
        pytest.param(of_a_client(Frame(Opcode.BINARY, b"hello"))[:-1], id="unfinished"),
        pytest.param(of_a_client(Frame(Opcode.BINARY, b"hello" * 100))[:7], id="unfinished head of a longer one"),
        pytest.param(Frame(Opcode.BINARY, b"hello").serialize(mask=False), id="without a mask"),
        pytest.param(of_a_client(Frame(Opcode.BINARY, b"hello", fin=False)), id="a fragment"),
        pytest.param(of_a_client(Frame(Opcode.CONT, b"hello")), id="the last fragment"),
        pytest.param(of_a_client(Frame(Opcode.TEXT, b"hello")), id="text"),
        pytest.param(of_a_client(Frame(Opcode.PING, b"hello")), id="a ping"),
        pytest.param(of_a_client(Frame(Opcode.CLOSE, b"\x03\xe8")), id="a close"),
        pytest.param(b"\xc2\x85\0\0\0\0hello", id="a reserved bit"),
        pytest.param(b"\x82\xfe\x00\x05\0\0\0\0hello", id="a length in too many bytes"),
        pytest.param(b"\x82\xff" + bytes(8) + b"\0\0\0\0", id="a length in eight bytes"),
    ],
)
def test_all_else_is_for_the_parser(data: bytes) -> None:
    assert read_message(data, 0, MAX_BYTES) is None


def test_a_message_over_the_limit_is_for_the_parser() -> None:
    data = of_a_client(Frame(Opcode.BINARY, b"x" * 1000))
    assert read_message(data, 0, 999) is None
    assert read_message(data, 0, 1000) == (b"x" * 1000, len(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_of_any_bytes_it_reads_what_the_parser_reads(data: bytes) -> None:
    messages, at = shortly(data)
    whole = parsed(data)
    assert messages == [bytes(frame.data) for frame in whole[: len(messages)]]
    assert at == sum(size_on_wire(frame) for frame in whole[: len(messages)])


FRAMES = st.lists(
    st.tuples(st.sampled_from([Opcode.BINARY, Opcode.BINARY, Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(FRAMES)
def test_frames_of_a_parser_that_is_done_have_the_size_that_was_read(frames: Sequence[tuple[Opcode, bytes]]) -> None:
    data = of_a_client(*(Frame(opcode, payload) for opcode, payload in frames))
    assert sum(size_on_wire(frame) for frame in parsed(data)) == len(data)
