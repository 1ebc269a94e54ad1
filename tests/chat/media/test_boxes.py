import struct

import pytest

from chat_service.media.base import MediaError
from chat_service.media.boxes import check_boxes
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
        (FTYP + MOOV + MDAT + box(b"free") * 100_001, "pieces"),
    ],
)
def test_anything_else_is_refused(mp4: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why) as refused:
        check_boxes(mp4)
    assert refused.value.code == "media_unreadable"


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
