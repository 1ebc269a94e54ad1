"""What a message holds: from memory, a file, an open file, a stream; and what is none."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from chat_client import FileError, MessageInvalid, Upload, video, voice
from chat_client.content import Content, read_content
from frameproto import Request, RequestKind

MP3 = b"\xff\xfb\x90\xc4" * 10


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(content: Content, max_bytes: int = 100) -> tuple[RequestKind, bytes]:
    request: Request = await read_content(content, max_bytes)
    return request.kind, bytes(request.body)


async def test_a_source_has_several_forms(tmp_path: Path) -> None:
    file = tmp_path / "note.mp3"
    file.write_bytes(MP3)
    with file.open("rb") as opened:
        for source in (
            MP3,
            bytearray(MP3),
            memoryview(MP3),
            file,
            str(file),
            opened,
            BytesIO(MP3),
            chunks(MP3[:7], MP3[7:]),
        ):
            assert await read(voice(source)) == (RequestKind.VOICE, MP3)
    assert await read(video(MP3)) == (RequestKind.VIDEO, MP3)
    assert await read("Grüße") == (RequestKind.TEXT, "Grüße".encode())
    assert await read(Upload(RequestKind.TEXT, "Grüße")) == (RequestKind.TEXT, "Grüße".encode())
    assert await read(Upload(RequestKind.TEXT, file.as_posix().encode())) == (RequestKind.TEXT, str(file).encode())


async def test_a_buffer_may_be_used_again_while_its_message_waits() -> None:
    buffer = bytearray(b"one")
    request = await read_content(voice(buffer), 100)
    buffer[:] = b"two"
    assert request.body == b"one"


@pytest.mark.parametrize("source", [b"", BytesIO(), chunks(), chunks(b"", b"")])
async def test_nothing_is_no_message(source: bytes) -> None:
    with pytest.raises(MessageInvalid) as invalid:
        await read(voice(source))
    assert (invalid.value.frame_code, invalid.value.exit_code) == ("frame_body_empty", 2)


async def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 10
            yield bytes(10)

    with pytest.raises(MessageInvalid) as invalid:
        await read(voice(endless()))
    assert (invalid.value.frame_code, taken) == ("frame_too_large", 100)
    assert len((await read(voice(bytes(99))))[1]) == 99
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(1000))
    for source in (large, BytesIO(bytes(1000)), bytes(100)):
        with pytest.raises(MessageInvalid, match="more than 99 bytes"):
            await read(video(source))


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    class Broken(BytesIO):
        name = "note.mp3"

        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(FileError, match=r"none\.mp3"):
        await read(voice(tmp_path / "none.mp3"))
    with pytest.raises(FileError, match=r"note\.mp3 cannot be read: Input/output error"):
        await read(voice(Broken()))
