import asyncio
import io

import pytest

from chat_service.media.pipe import (
    MAX_HEAD_BYTES,
    MAX_REPLY_BYTES,
    SIZES,
    MessageMalformed,
    PipeMessage,
    read_message,
    receive_message,
    write_message,
)

MESSAGE = PipeMessage({"job": "speak", "seconds": 1.5, "why": "ünïcode"}, b"\0\xffbody")


def stream_of(*parts: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(b"".join(parts))
    stream.feed_eof()
    return stream


async def test_there_and_back() -> None:
    pipe = io.BytesIO()
    write_message(pipe, MESSAGE)
    write_message(pipe, PipeMessage())
    pipe.seek(0)
    stream = stream_of(pipe.getvalue())
    for expected in (MESSAGE, PipeMessage()):
        assert read_message(pipe) == expected
        assert await receive_message(stream) == expected
    assert read_message(pipe) is None
    with pytest.raises(asyncio.IncompleteReadError):
        await receive_message(stream)


def test_a_body_is_not_copied() -> None:
    body = memoryview(bytearray(b"long body"))
    assert PipeMessage({}, body).parts()[1] is body


async def test_the_other_side_ends_in_the_middle() -> None:
    pipe = io.BytesIO()
    write_message(pipe, MESSAGE)
    for size in range(len(pipe.getvalue())):
        cut = pipe.getvalue()[:size]
        assert read_message(io.BytesIO(cut)) is None
        with pytest.raises(asyncio.IncompleteReadError):
            await receive_message(stream_of(cut))


@pytest.mark.parametrize(
    "raw",
    [
        SIZES.pack(MAX_HEAD_BYTES + 1, 0),
        SIZES.pack(2, MAX_REPLY_BYTES + 1),
        SIZES.pack(4, 0) + b"{not",
        SIZES.pack(4, 0) + b"\xff\xfe\xfd\xfc",
        SIZES.pack(2, 0) + b"[]",
        SIZES.pack(1, 0) + b"1",
    ],
)
async def test_a_worker_is_not_trusted(raw: bytes) -> None:
    with pytest.raises(MessageMalformed):
        await receive_message(stream_of(raw))
