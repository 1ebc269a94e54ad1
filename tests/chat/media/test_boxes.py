import struct

import pytest

from chat_service.media.base import MediaError
from chat_service.media.boxes import WorkLimits, check_boxes
from tests.chat.media.making import RED, video


def box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
MOOV = box(b"moov", bytes(100))
MDAT = box(b"mdat", bytes(1000))
LARGE_MDAT = struct.pack(">I4sQ", 1, b"mdat", 16 + 50) + bytes(50)


@pytest.mark.parametrize(
    "mp4",
    [
        FTYP + MOOV + MDAT,
        FTYP + MDAT + MOOV,
        FTYP + box(b"free") + MDAT + MOOV,
        FTYP + MOOV + LARGE_MDAT,
        FTYP + MOOV + box(b"mdat", bytes(10), size=0),
        FTYP + MOOV + box(b"moof", bytes(9)) + MDAT + box(b"moof", bytes(9)) + MDAT,
        box(b"ftyp", b"qt  \0\0\0\0mp42") + MOOV + MDAT,
        FTYP + MOOV + MDAT + b"\r\n",
        FTYP + MOOV + MDAT + b"made by a phone that signs its files",
        FTYP + MOOV + MDAT + bytes(4096),
        FTYP + MOOV + MDAT + box(b"free", size=900),
        FTYP + MOOV + MDAT + box(b"\xff\xfe\xfd\xfc", bytes(10)),
        FTYP + MOOV + box(b"moof", bytes(9)) + MDAT + box(b"mfra", bytes(30))[:-3],
    ],
)
def test_whole_files(mp4: bytes) -> None:
    check_boxes(mp4)
    check_boxes(memoryview(bytearray(mp4)))


@pytest.mark.parametrize(
    ("mp4", "why"),
    [
        (b"", "not an MP4"),
        (b"\0\0\0", "not an MP4"),
        (b"hello, this is a text", "not an MP4"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an MP4"),
        (MOOV + MDAT, "no file type"),
        (FTYP, "moov"),
        (FTYP + MDAT, "moov"),
        (FTYP + MOOV, "no media"),
        (FTYP + MOOV + MDAT[:-1], "1 bytes of its box"),
        (FTYP + MDAT + MOOV[:50], "58 bytes of its box"),
        (FTYP + MOOV + MDAT[:5], "5 bytes are left over"),
        (FTYP + MOOV + LARGE_MDAT[:12], "size of its last box"),
        (FTYP + MOOV + LARGE_MDAT[:-1], "1 bytes"),
        (FTYP + MOOV + MDAT + MDAT[:-1], "1 bytes of its box"),
        (FTYP + MDAT + b"\r\n", "left over"),
        (FTYP + box(b"moov", size=7) + MDAT, "not a box"),
        (FTYP + MOOV + struct.pack(">I4sQ", 1, b"mdat", 15) + bytes(50), "not a box"),
        (FTYP + MOOV + box(b"\xff\xfe\xfd\xfc", bytes(10)), "not a box"),
        (FTYP + MOOV + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1), "missing"),
    ],
)
def test_anything_else_is_refused(mp4: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why) as refused:
        check_boxes(mp4)
    assert refused.value.code == "media_unreadable"


def table(kind: bytes, entries: int, *, before: bytes = b"", entry: bytes = b"") -> bytes:
    return box(kind, bytes(4) + before + struct.pack(">I", entries) + entry * entries)


def in_track(*tables: bytes) -> bytes:
    stbl = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", b"".join(tables)))))
    return FTYP + box(b"moov", stbl) + MDAT


def in_fragments(*runs: bytes) -> bytes:
    return FTYP + MOOV + b"".join(box(b"moof", box(b"traf", run)) for run in runs) + MDAT


def in_64_bits(whole: bytes) -> bytes:
    """Return a box with its size in 64 bits, however small it is."""
    return struct.pack(">I4sQ", 1, whole[4:8], len(whole) + 8) + whole[8:]


@pytest.mark.parametrize(
    ("mp4", "why"),
    [
        (FTYP + MOOV + MDAT + box(b"free") * 101, "more than 100 pieces"),
        (in_track(box(b"free") * 101), "more than 100 pieces"),
        (FTYP + box(b"moov", box(b"trak", box(b"edts")) * 51) + MDAT, "more than 100 pieces"),
        (in_fragments(*[table(b"trun", 1)] * 33), "more than 100 pieces"),
        (in_fragments(table(b"trun", 1001)), "more than 1,000 entries"),
        (in_fragments(*[table(b"trun", 101)] * 10), "more than 1,000 entries"),
        (in_fragments(table(b"trun", 2**32 - 1)), "more than 1,000 entries"),
        (in_track(table(b"stsz", 1001, before=bytes(4))), "more than 1,000 entries"),
        *((in_track(table(kind, 1001)), "more than 1,000 entries") for kind in (b"stts", b"ctts", b"stsc", b"stco")),
        (in_track(in_64_bits(table(b"stts", 1001))), "more than 1,000 entries"),
        (FTYP + box(b"moov", in_64_bits(box(b"trak", box(b"free") * 101))) + MDAT, "more than 100 pieces"),
        (FTYP + box(b"sidx", struct.pack(">I4x4x4x4x2xH", 0, 1001)) + MOOV + MDAT, "more than 1,000 entries"),
        (FTYP + box(b"sidx", struct.pack(">I4x4x8x8x2xH", 1 << 24, 1001)) + MOOV + MDAT, "more than 1,000 entries"),
    ],
)
def test_what_is_too_much_work_is_refused(mp4: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why) as refused:
        check_boxes(mp4, WorkLimits(max_boxes=100, max_entries=1000))
    assert refused.value.code == "media_too_complex"


def test_samples_of_one_size_have_no_entries() -> None:
    check_boxes(in_track(table(b"stsz", 2**32 - 1, before=struct.pack(">I", 2))))


@pytest.mark.parametrize(
    "mp4",
    [
        in_track(box(b"stts"), box(b"stsz", bytes(8)), box(b"ctts", size=4)),
        in_track(struct.pack(">I", 7)),
        in_track(box(b"stsz", size=2**31)),
        FTYP + box(b"sidx") + MOOV + MDAT,
        FTYP + box(b"moov", struct.pack(">I4s", 0, b"trak") + bytes(5)) + MDAT,
    ],
)
def test_boxes_that_are_broken_inside_are_left_to_the_demuxer(mp4: bytes) -> None:
    check_boxes(mp4, WorkLimits(max_boxes=100, max_entries=1000))


@pytest.mark.parametrize("movflags", ["", "+faststart", "+frag_keyframe+empty_moov"])
def test_no_beginning_of_a_real_file_is_whole(movflags: str) -> None:
    mp4 = video(RED, movflags=movflags) if movflags else video(RED)
    check_boxes(mp4)
    edges = 0
    for size in range(len(mp4)):
        try:
            check_boxes(mp4[:size])
        except MediaError:
            continue
        edges += 1
    # A fragmented file can end after any fragment; what follows the last one is an index that players can do without.
    index = len(mp4) - mp4.rindex(b"mfra") + 4 if "frag" in movflags else 0
    assert edges <= index + 1
