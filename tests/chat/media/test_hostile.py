"""Files that were made to break a service: each is told in a sentence, by a worker that goes on."""

import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_service.media.audio import probe_audio
from chat_service.media.base import MediaError
from chat_service.media.video import probe_video
from tests.chat.media.making import BLUE, GREEN, RED, silent_mp3, tone, video
from tests.chat.media.test_workers import OfOneClient, workers_of

FRAGMENTED = "frag_keyframe+empty_moov"
SHARED: dict[str, Callable[[], bytes]] = {
    "MP3": lambda: tone(1, "a.mp3", "libmp3lame"),
    "M4A": lambda: tone(1, "a.m4a", "aac"),
    "Ogg": lambda: tone(1, "a.ogg", "libopus"),
    "WAV": lambda: tone(0.3, "a.wav", "pcm_s16le"),
    "FLAC": lambda: tone(1, "a.flac", "flac"),
    "WebM of sound": lambda: tone(1, "a.webm", "libopus"),
    "MP4": lambda: video(RED, GREEN, BLUE, seconds=3, sound=True),
    "MP4 in fragments": lambda: video(RED, GREEN, seconds=2, sound=True, movflags=FRAGMENTED),
    "WebM": lambda: video(RED, GREEN, seconds=2, name="video.webm", codec="libvpx"),
}
VIDEOS = {"MP4", "MP4 in fragments", "WebM"}
CLIENTS_FAULT = {"media_unreadable", "media_too_long", "media_too_complex"}


async def look_at(workers: OfOneClient, name: str, file: bytes) -> str:
    """Send a file; return why it was refused, or nothing."""
    refused: MediaError | None = None
    try:
        info = await (workers.probe_video if name in VIDEOS else workers.probe_audio)(file)
        assert 0 < info.seconds <= 120
    except MediaError as exc:
        refused = exc
    if refused is None:
        return ""
    assert refused.code in CLIENTS_FAULT, f"{refused.code}: {refused}"
    assert str(refused)
    return str(refused)


@pytest.mark.parametrize("name", SHARED)
async def test_cut_at_every_hundredth(name: str) -> None:
    file = SHARED[name]()
    async with workers_of(1, max_media_seconds=120) as workers:
        before = workers.pids
        for percent in range(100):
            await look_at(workers, name, file[: len(file) * percent // 100])
        assert await look_at(workers, name, file) == ""
        assert workers.pids == before, "a worker crashed"


@pytest.mark.parametrize("name", SHARED)
async def test_bits_that_are_flipped(name: str) -> None:
    file, chance = SHARED[name](), random.Random(name)
    async with workers_of(1, max_media_seconds=120) as workers:
        before = workers.pids
        for _ in range(60):
            broken = bytearray(file)
            for _ in range(chance.choice((1, 3, 30))):
                broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            await look_at(workers, name, bytes(broken))
        for _ in range(30):  # the first bytes say what everything else is
            broken = bytearray(file)
            broken[chance.randrange(min(400, len(broken)))] = chance.randrange(256)
            await look_at(workers, name, bytes(broken))
        assert workers.pids == before, "a worker crashed"


def box(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


def with_tracks(count: int) -> bytes:
    mp4 = video(RED, seconds=1)
    at = mp4.index(b"moov") - 4
    (size,) = struct.unpack_from(">I", mp4, at)
    start = mp4.index(b"trak") - 4
    (length,) = struct.unpack_from(">I", mp4, start)
    track = mp4[start : start + length]
    moov = struct.pack(">I", size + length * count) + mp4[at + 4 : at + size] + track * count
    return mp4[:at] + moov + mp4[at + size :]


@pytest.mark.parametrize(
    "make",
    [
        lambda: box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", b"", size=0xFFFF_FFFF),
        lambda: box(b"ftyp", b"isom\0\0\0\0") + struct.pack(">I4sQ", 1, b"mdat", 2**63 - 1),
        lambda: box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", box(b"trak", b"", size=0x7FFF_FFFF)) + box(b"mdat", b""),
        lambda: box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", b"") * 50_000 + box(b"mdat", b""),
        lambda: with_tracks(4_000),
        lambda: video(RED, seconds=1).replace(b"stsz", b"stts"),
        lambda: b"\x1a\x45\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xff" + b"webm" + bytes(1000),
        lambda: bytes(1_000_000),
        lambda: b"\xff" * 1_000_000,
    ],
    ids=[
        "an index of 4 GB", "media of 8 EB", "a track of 2 GB", "50,000 indexes", "4,000 tracks",
        "tables of another kind", "a header without an end", "zeros", "ones",
    ],
)  # fmt: skip
async def test_sizes_and_numbers_that_are_claimed(make: Callable[[], bytes]) -> None:
    async with workers_of(1, max_media_seconds=120, job_cpu_seconds=20) as workers:
        file = make()
        assert await look_at(workers, "MP4", file)
        await look_at(workers, "MP3", file)
        assert (await workers.probe_audio(silent_mp3(1))).seconds > 0


REFERENCES = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{file}'\nfile '{url}'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\nm=audio {port} RTP/AVP 14\n",
    "DASH": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><BaseURL>{url}</BaseURL>"
    "<Period><AdaptationSet><Representation id='1' mimeType='video/mp4'/></AdaptationSet></Period></MPD>",
    "image list": "{file}\n{url}\n",
    "SMIL": "<smil><body><video src='{url}'/><video src='file:{file}'/></body></smil>",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n{url}\n",
    "MP4 in name": "\0\0\0\x18ftypisom\0\0\0\0isomiso2#EXTM3U\n{file}\n{url}\n",
    "MP3 in name": "ID3\x03\0\0\0\0\0\0#EXTM3U\n{file}\n{url}\n",
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("probe", [probe_audio, probe_video])
def test_nothing_is_read_from_disk_or_network(name: str, probe: Callable[..., object], tmp_path: Path) -> None:
    """A pipe blocks its reader until there is a writer, so a look into it would never end."""
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        text = REFERENCES[name].format(file=pipe, url=f"http://127.0.0.1:{port}/a.mp4", port=port)
        refusals: list[MediaError] = []

        def look() -> None:
            try:
                probe(text.encode(), max_seconds=10)
            except MediaError as exc:
                refusals.append(exc)

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(30)
        assert not looking.is_alive(), "the file that it names was opened"
        assert [refused.code for refused in refusals] == ["media_unreadable"]
        with pytest.raises(BlockingIOError):
            server.accept()
