"""What a message holds: a text, or voice or video from memory, a file or a stream."""

import asyncio
import os
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chat_client.errors import FileError, MessageInvalid
from chat_client.files import opened, read_bounded
from frameproto import Buffer, FrameError, FrameTooLarge, Request, RequestKind, TextInvalid

Source = Buffer | str | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""Where the bytes are: in memory, in the file of this path, in an open file, or in a stream of chunks."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A message of any kind.

    Attributes:
        kind: what the source holds.
        source: of voice and video, a string is the path of a file; of text, it is the text.
    """

    kind: RequestKind
    source: Source


Content = str | Upload
"""What can be sent; a string is a text."""


def voice(source: Source) -> Upload:
    """Return a voice note: MP3, or another format that the server takes."""
    return Upload(RequestKind.VOICE, source)


def video(source: Source) -> Upload:
    """Return a video: MP4, or another format that the server takes."""
    return Upload(RequestKind.VIDEO, source)


async def read_content(content: Content, max_bytes: int) -> Request:
    """Return the whole request. A stream is read to its end before anything is sent: half a message cannot be undone.

    Args:
        content: what to send.
        max_bytes: the largest frame that the server takes.

    Raises:
        MessageInvalid: it is empty, too large, or a text that is not UTF-8.
        FileError: a file cannot be read.
    """
    upload = content if isinstance(content, Upload) else Upload(RequestKind.TEXT, content)
    try:
        body = await _read(upload, max_bytes - 1)
        if len(body) >= max_bytes:
            raise FrameTooLarge(f"it has more than {max_bytes - 1} bytes, which is the limit")
        return Request(upload.kind, body)
    except FrameError as exc:
        raise MessageInvalid(exc) from exc


async def _read(upload: Upload, max_bytes: int) -> Buffer:
    source = upload.source
    if isinstance(source, str) and upload.kind.part is None:
        try:
            return source.encode(errors="surrogateescape")  # how a POSIX locale hands over bytes that it cannot read
        except UnicodeEncodeError as exc:
            raise TextInvalid("the text holds a lone surrogate, which UTF-8 cannot encode") from exc
    if isinstance(source, str | os.PathLike):
        return await asyncio.to_thread(_read_path, Path(source), max_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)  # the caller may reuse its buffer while the message waits
    if isinstance(source, AsyncIterable):
        return await _read_stream(source, max_bytes)
    return await asyncio.to_thread(_read_file, source, max_bytes)


def _read_path(path: Path, max_bytes: int) -> bytes:
    with opened(path) as file:
        return read_bounded(file, max_bytes)


def _read_file(file: BinaryIO, max_bytes: int) -> bytes:
    try:
        return read_bounded(file, max_bytes)
    except OSError as exc:
        raise FileError(f"{getattr(file, 'name', 'the stream')} cannot be read: {exc.strerror}") from exc


async def _read_stream(chunks: AsyncIterable[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            break
    return bytes(body)
