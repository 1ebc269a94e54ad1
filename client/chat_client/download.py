"""Downloading media from history into a file. A download that breaks off goes on where it was."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from chat_client.errors import FileError, Unreachable, WrongAnswer
from chat_client.files import whole_file
from chat_client.history_http import CHUNK_BYTES, OK, HistoryHttp
from chat_client.history_records import Media

PARTIAL: Final = 206
RETRIES: Final = 2

OnBytes = Callable[[int], None]
"""Called with the number of bytes that have come so far."""


async def download(http: HistoryHttp, media: Media, path: Path, on_bytes: OnBytes | None) -> None:
    """Write a medium into a new file.

    Raises:
        ClientError: it cannot be had, or not be written.
    """
    with whole_file(path) as file:
        for retries_left in range(RETRIES, -1, -1):
            try:
                await _download_rest(http, media, file, on_bytes)
            except WrongAnswer:
                raise
            except Unreachable:
                if file.tell() == media.size_bytes:  # it broke off behind the last byte
                    return
                if not retries_left or not file.tell():
                    raise
            else:
                return


async def _download_rest(http: HistoryHttp, media: Media, file: BinaryIO, on_bytes: OnBytes | None) -> None:
    start = file.tell()
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    async with http.answer(media.href, headers, {OK, PARTIAL} if start else {OK}) as response:
        if response.status == OK:
            file.seek(0)  # all of it, whatever was asked for
            file.truncate()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise WrongAnswer(f"what came of {media.part} is not the part that was asked for")
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            if file.tell() + len(chunk) > media.size_bytes:
                raise WrongAnswer(f"more came of {media.part} than its {media.size_bytes} bytes")
            try:
                file.write(chunk)
            except OSError as exc:
                raise FileError(f"{media.part} cannot be saved: {exc.strerror}") from exc
            if on_bytes is not None:
                on_bytes(file.tell())
    if file.tell() < media.size_bytes:
        raise Unreachable(f"the download of {media.part} broke off at {file.tell()} of {media.size_bytes} bytes")
