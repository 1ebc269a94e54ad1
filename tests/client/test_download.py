"""Downloads: whole or not at all, over connections that break and from servers that do it their own way."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from chat_client import History, Media, Refused, Unreachable, WrongAnswer
from chat_client.errors import FileError
from frameproto import Request, RequestKind, Response, ResponseKind
from tests.client.conftest import SAMPLES, Chatbot, keep
from tests.client.standins import answering
from tests.support.exchanges import exchange

CONTENT = bytes(range(256)) * 4000
MEDIA = Media("video", "/v1/messages/x/media/video", "video/mp4", len(CONTENT))
Serve = Callable[["Store", web.Request, int], Awaitable[web.StreamResponse]]


class Store:
    """Serves one medium in one way, and takes down which ranges it was asked for."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.starts: list[int] = []
        self.encodings: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", "bytes=0-"))
        assert found is not None
        self.starts.append(int(found[1]))
        self.encodings.add(request.headers["Accept-Encoding"])
        return await self._serve(self, request, int(found[1]))


async def part(
    request: web.Request, start: int, *, size: int = 300_000, status: int | None = None, promised: int | None = None
) -> web.StreamResponse:
    """Send at most so many bytes, and break off when that is not all that was promised."""
    status = status or (206 if start else 200)
    body = CONTENT[start : start + size]
    promised = len(CONTENT) - start if promised is None else promised
    headers = {"Content-Length": str(promised)}
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{start + promised - 1}/{len(CONTENT)}"
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    await response.write(body)
    if len(body) < promised:
        assert request.transport is not None
        request.transport.close()  # after what was written
    return response


async def in_pieces(_store: Store, request: web.Request, start: int) -> web.StreamResponse:
    return await part(request, start, size=400_000)


async def whole_again(store: Store, request: web.Request, _start: int) -> web.StreamResponse:
    return await part(request, 0, size=400_000 if len(store.starts) == 1 else len(CONTENT), status=200)


async def whole_in_pieces(store: Store, request: web.Request, _start: int) -> web.StreamResponse:
    return await part(request, 0, size=[400_000, 100_000, len(CONTENT)][len(store.starts) - 1], status=200)


async def unfinished(_store: Store, request: web.Request, _start: int) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(CONTENT)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize(
    ("serve", "requests"),
    [
        pytest.param(in_pieces, 3, id="breaks twice"),
        pytest.param(whole_again, 2, id="ignores the range"),
        pytest.param(whole_in_pieces, 3, id="ignores the range, and breaks earlier"),
        pytest.param(unfinished, 1, id="breaks behind the last byte"),
    ],
)
async def test_a_download_goes_on_until_it_is_whole(tmp_path: Path, serve: Serve, requests: int) -> None:
    store, came = Store(serve), list[int]()
    async with answering(store.answer) as url, History(url) as history:
        await history.download(MEDIA, tmp_path / "video.mp4", on_bytes=came.append)
    assert (tmp_path / "video.mp4").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    assert (len(store.starts), store.starts[0], came[-1]) == (requests, 0, len(CONTENT))
    assert all(store.starts[1:])
    assert store.encodings == {"identity"}


async def breaks_at_once(_store: Store, request: web.Request, start: int) -> web.StreamResponse:
    return await part(request, start, size=0)


async def breaks_always(_store: Store, request: web.Request, start: int) -> web.StreamResponse:
    return await part(request, start, size=100_000)


async def stalls(_store: Store, request: web.Request, _start: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
    await response.prepare(request)
    await response.write(CONTENT[:1000])
    await asyncio.get_running_loop().create_future()  # until the client has had enough
    return response


async def too_little(_store: Store, request: web.Request, start: int) -> web.StreamResponse:
    if start:
        return web.json_response({"code": "range_not_satisfiable", "status": 416}, status=416)
    return await part(request, 0, size=1000, promised=1000)


async def too_much(_store: Store, _request: web.Request, _start: int) -> web.StreamResponse:
    return web.Response(body=CONTENT + b"more")


async def another_part(_store: Store, request: web.Request, start: int) -> web.StreamResponse:
    return await part(request, start and start + 1, size=1000)


async def lost(_store: Store, _request: web.Request, _start: int) -> web.StreamResponse:
    return web.json_response({"code": "media_unknown", "status": 404}, status=404)


async def away(store: Store, request: web.Request, start: int) -> web.StreamResponse:
    if start:
        return web.json_response({"code": "store_unavailable", "status": 503}, status=503, headers={"Retry-After": "5"})
    return await in_pieces(store, request, start)


async def unasked_part(_store: Store, _request: web.Request, _start: int) -> web.StreamResponse:
    return web.Response(body=CONTENT, status=206)


@pytest.mark.parametrize(
    ("serve", "trouble", "why"),
    [
        pytest.param(breaks_at_once, Unreachable, "cannot be reached", id="breaks at once"),
        pytest.param(breaks_always, Unreachable, "cannot be reached", id="breaks again and again"),
        pytest.param(stalls, Unreachable, "no answer", id="stalls"),
        pytest.param(too_little, Refused, "416 range_not_satisfiable", id="too little"),
        pytest.param(too_much, WrongAnswer, f"more came of video than its {len(CONTENT)} bytes", id="too much"),
        pytest.param(another_part, WrongAnswer, "not the part that was asked for", id="another part"),
        pytest.param(unasked_part, WrongAnswer, "it said 206", id="a part that was not asked for"),
        pytest.param(lost, Refused, "404 media_unknown", id="lost"),
        pytest.param(away, Refused, "503 store_unavailable.*try again in 5 s", id="goes away"),
    ],
)
async def test_a_download_that_cannot_be_whole_leaves_nothing(
    tmp_path: Path, serve: Serve, trouble: type[Exception], why: str
) -> None:
    store = Store(serve)
    async with asyncio.timeout(60), answering(store.answer) as url, History(url, seconds=0.3) as history:
        with pytest.raises(trouble, match=why):
            await history.download(MEDIA, tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []
    assert len(store.starts) <= 3


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, full_disk: None) -> None:
    async with answering(Store(in_pieces).answer) as url, History(url) as history:
        with pytest.raises(FileError, match="File too large"):
            await history.download(MEDIA, tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


async def test_a_name_that_is_taken_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"mine")
    store = Store(in_pieces)
    async with answering(store.answer) as url, History(url) as history:
        with pytest.raises(FileError, match="is there already"):
            await history.download(MEDIA, tmp_path / "video.mp4")
    assert ((tmp_path / "video.mp4").read_bytes(), store.starts) == (b"mine", [])


async def test_media_come_back_byte_for_byte(chatbot: Chatbot, tmp_path: Path) -> None:
    video, voice, image = (SAMPLES / "hello.mp4").read_bytes(), (SAMPLES / "hello.mp3").read_bytes(), CONTENT
    session = uuid4()
    request, response = Request(RequestKind.VIDEO, video), Response(ResponseKind.VIDEO, "a video", voice, image)
    await keep(chatbot, [exchange(session_id=session, request=request, response=response)])
    async with History(chatbot.history_url) as history:
        async for message in history.messages(session):
            for media in message.media:
                await history.download(media, tmp_path / f"{message.direction}-{media.part}")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "request-video": video,
        "reply-voice": voice,
        "reply-image": image,
    }
