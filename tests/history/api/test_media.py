"""Voice, video and pictures: whole, in ranges, and not at all."""

from collections.abc import Sequence

import httpx2
import pytest

from frameproto import Request, RequestKind
from history_service.blobs.base import BlobsUnavailable
from tests.history.pod import SHOWN, SPOKEN, VIDEO, VOICE, Pod, check_problem, rich_exchange
from tests.support.exchanges import exchange

DATA = bytes(SPOKEN.voice)
SIZE = len(DATA)


@pytest.fixture
async def path(pod: Pod) -> str:
    """Where a voice of `SIZE` bytes is."""
    kept = exchange(request=VOICE, response=SPOKEN)
    await pod.ingest(kept)
    return f"/v1/messages/{kept.id}.reply/media/voice"


async def get(pod: Pod, path: str, ranges: str, **headers: str) -> httpx2.Response:
    return await pod.http.get(path, headers={"range": ranges, **headers})


async def test_each_part_has_its_content_type(pod: Pod) -> None:
    spoken, shown = exchange(request=VOICE, response=SPOKEN), rich_exchange()
    await pod.ingest(spoken, shown)
    for message, part, content_type, data in [
        (f"{spoken.id}.request", "voice", "audio/mpeg", VOICE.body),
        (f"{spoken.id}.reply", "voice", "audio/mpeg", SPOKEN.voice),
        (f"{shown.id}.request", "video", "video/mp4", VIDEO.body),
        (f"{shown.id}.reply", "voice", "audio/mpeg", SHOWN.voice),
        (f"{shown.id}.reply", "image", "image/jpeg", SHOWN.image),
    ]:
        answer = await pod.http.get(f"/v1/messages/{message}/media/{part}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("kind", "beginning", "part", "content_type"),
    [
        (RequestKind.VOICE, b"RIFF\x24\0\0\0WAVEfmt ", "voice", "audio/wav"),
        (RequestKind.VOICE, b"OggS\0\2", "voice", "audio/ogg"),
        (RequestKind.VOICE, b"\0\0\0\x18ftypM4A \0\0\0\0", "voice", "audio/mp4"),
        (RequestKind.VOICE, b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm", "voice", "audio/webm"),
        (RequestKind.VIDEO, b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm", "video", "video/webm"),
        (RequestKind.VIDEO, b"\0\0\0\x14ftypqt  \0\0\0\0", "video", "video/quicktime"),
        (RequestKind.VOICE, b"<html><script>", "voice", "audio/mpeg"),
        (RequestKind.VOICE, b"\x89PNG\r\n\x1a\n", "voice", "application/octet-stream"),
    ],
)
async def test_a_file_keeps_its_true_type(
    pod: Pod, kind: RequestKind, beginning: bytes, part: str, content_type: str
) -> None:
    sent = exchange(request=Request(kind, beginning + bytes(100)), response=SPOKEN)
    await pod.ingest(sent)
    answer = await pod.http.get(f"/v1/messages/{sent.id}.request/media/{part}")
    assert (answer.content, answer.headers["content-type"]) == (beginning + bytes(100), content_type)
    shown = (await pod.http.get(f"/v1/messages/{sent.id}.request")).json()
    assert shown["media"][part]["content_type"] == content_type


async def test_the_whole_comes_with_all_a_player_wants_to_know(pod: Pod, path: str) -> None:
    answer = await pod.http.get(path)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    ("ranges", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=0-", 0, SIZE),
        (f"bytes=10-{SIZE - 1}", 10, SIZE),
        (f"bytes=10-{SIZE}", 10, SIZE),
        (f"bytes=10-{10**17}", 10, SIZE),
        ("bytes=262143-524288", 262143, 524289),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-500", SIZE - 500, SIZE),
        (f"bytes=-{SIZE}", 0, SIZE),
        (f"bytes=-{SIZE + 1}", 0, SIZE),
        ("bytes= 5 - 9", 5, 10),
        ("bytes=0-99999999999999999999", 0, SIZE),
        (f"bytes=7-{'9' * 5000}", 7, SIZE),
        (f"bytes=-{'9' * 5000}", 0, SIZE),
        (f"bytes={'0' * 30}5-{'0' * 30}9", 5, 10),
        ("Bytes=5-9", 5, 10),
        ("BYTES=-500", SIZE - 500, SIZE),
    ],
)
async def test_a_range(pod: Pod, path: str, ranges: str, start: int, end: int) -> None:
    answer = await get(pod, path, ranges)
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize(
    "ranges",
    [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", f"bytes={10**17}-", "bytes=-0", "bytes=-00", f"bytes={'9' * 5000}-"],
)
async def test_a_range_behind_the_end_cannot_be_had(pod: Pod, path: str, ranges: str) -> None:
    answer = await get(pod, path, ranges)
    check_problem(answer, 416, "range_not_satisfiable", detail=str(SIZE))
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "ranges",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-5", "items=0-5", "bytes=0-1,5-9"],
    ids=lambda ranges: ranges[:16] or "empty",
)
async def test_what_is_no_single_range_of_bytes_is_passed_over(pod: Pod, path: str, ranges: str) -> None:
    answer = await get(pod, path, ranges)
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


async def test_head_tells_all_but_the_bytes_and_knows_no_ranges(pod: Pod, path: str) -> None:
    whole = await pod.http.get(path)
    for headers in ({}, {"range": "bytes=0-9"}):
        answer = await pod.http.head(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert dict(answer.headers) == dict(whole.headers)


async def test_what_a_browser_has_already_is_not_sent_again(pod: Pod, path: str) -> None:
    etag = (await pod.http.get(path)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await pod.http.get(path, headers={"if-none-match": known, "range": "bytes=0-9"})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    for other in ('"other"', etag[1:-1], f'"x{etag[1:-1]}"'):
        assert (await pod.http.get(path, headers={"if-none-match": other})).status_code == 200


async def test_a_date_counts_only_without_a_tag(pod: Pod, path: str) -> None:
    date = (await pod.http.get(path)).headers["last-modified"]
    assert date == "Sun, 01 Mar 2026 09:00:00 GMT"
    for since, status in [
        (date, 304),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 304),
        ("Sun, 01 Mar 2026 08:59:59 GMT", 200),
        ("yesterday", 200),
        ("Sun, 99 Mar 2026 09:00:00 GMT", 200),
        ("Sun, 01 Mar 2026 10:00:00", 200),
    ]:
        assert (await pod.http.get(path, headers={"if-modified-since": since})).status_code == status
    both = {"if-modified-since": date, "if-none-match": '"other"'}
    assert (await pod.http.get(path, headers=both)).status_code == 200


async def test_each_part_has_its_own_etag(pod: Pod) -> None:
    shown = rich_exchange()
    await pod.ingest(shown)
    parts: Sequence[str] = (f"{shown.id}.request/media/video", f"{shown.id}.reply/media/voice")
    etags = {(await pod.http.get(f"/v1/messages/{part}")).headers["etag"] for part in parts}
    assert len(etags) == 2


async def test_a_range_of_what_has_changed_is_the_whole(pod: Pod, path: str) -> None:
    etag = (await pod.http.get(path)).headers["etag"]
    date = "Sun, 01 Mar 2026 09:00:00 GMT"
    for held, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200), (date, 206), (f"{date[:-5]}1 GMT", 200)):
        assert (await get(pod, path, "bytes=0-9", **{"if-range": held})).status_code == status


@pytest.mark.parametrize("part", ["image", "video", "text", "VOICE", "x"])
async def test_a_part_that_the_message_has_not(pod: Pod, path: str, part: str) -> None:
    check_problem(await pod.http.get(path.replace("media/voice", f"media/{part}")), 404, "media_unknown")


async def test_a_text_has_no_media(pod: Pod) -> None:
    kept = exchange()
    await pod.ingest(kept)
    check_problem(await pod.http.get(f"/v1/messages/{kept.id}.request/media/voice"), 404, "media_unknown")


async def test_media_of_no_message(pod: Pod) -> None:
    check_problem(await pod.http.get(f"/v1/messages/{exchange().id}.reply/media/voice"), 404, "message_unknown")
    check_problem(await pod.http.get("/v1/messages/1/media/voice"), 400, "message_id_malformed")


async def test_media_that_is_lost_is_not_there(pod: Pod, path: str) -> None:
    for file in (pod.folder / "media").rglob("reply.mp3"):
        file.unlink()
    check_problem(await pod.http.get(path), 404, "media_unknown")


async def test_without_the_media_store_only_media_cannot_be_had(pod: Pod, path: str) -> None:
    pod.blobs.failure = BlobsUnavailable
    answer = await pod.http.get(path)
    check_problem(answer, 503, "store_unavailable", detail="the store of media")
    assert answer.headers["retry-after"] == "2"
    assert (await pod.http.get(path.removesuffix("/media/voice"))).status_code == 200
