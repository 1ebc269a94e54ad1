"""Notes in a file change nothing of what is told of it, however many there are."""

import struct

import pytest

from chat_service.media.audio import probe_audio
from chat_service.media.base import MediaError
from chat_service.media.boxes import check_boxes
from chat_service.media.tags import without_notes, without_tags
from chat_service.media.video import probe_video
from tests.chat.media.making import CLOCKWISE, RED, silent_mp3, turned, video

MP3 = bytes(without_tags(silent_mp3(1)))
MP4 = video(RED, seconds=1)


def id3(count: int, *, footer: bool = False) -> bytes:
    """A tag of so many comments, each with a name of its own."""
    comments = b"".join(b"TXXX" + struct.pack(">I2x", 11) + b"\0k%07d\0v" % number for number in range(count))
    size = len(comments)
    seven_bits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    end = b"3DI\4\0\x10" + seven_bits if footer else b""
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + seven_bits + comments + end


def ape(count: int, *, header: bool = False) -> bytes:
    items = b"".join(struct.pack("<II", 1, 0) + b"k%06d\0v" % number for number in range(count))
    ends = b"APETAGEX" + struct.pack("<IIII8x", 2000, len(items) + 32, count, header << 31)
    return (ends if header else b"") + items + ends


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def annotated(notes: bytes) -> bytes:
    """The video with more boxes at the end of its index."""
    at = MP4.index(b"moov") - 4
    return MP4[:at] + box(b"moov", MP4[at + 8 :] + notes)


def titles(count: int) -> bytes:
    return b"".join(box(b"\xa9nam", struct.pack(">HH", 1, 1 + number) + b"v") for number in range(count))


ID3V1 = b"TAG" + bytes(125)


@pytest.mark.parametrize(
    "mp3",
    [
        pytest.param(MP3, id="none"),
        pytest.param(id3(3) + MP3, id="ID3"),
        pytest.param(id3(3, footer=True) + MP3, id="ID3 with a footer"),
        pytest.param(id3(1) + id3(2) + MP3, id="two ID3"),
        pytest.param(id3(200_000) + MP3, id="an endless ID3"),
        pytest.param(MP3 + ID3V1, id="old ID3"),
        pytest.param(MP3 + ape(2), id="APE"),
        pytest.param(MP3 + ape(2, header=True), id="APE with a header"),
        pytest.param(MP3 + ape(60_000) + ID3V1, id="an endless APE, old ID3"),
    ],
)
def test_tags_are_taken_off_and_the_sound_is_left(mp3: bytes) -> None:
    assert without_tags(mp3) == MP3
    assert probe_audio(mp3, max_seconds=2) == probe_audio(MP3, max_seconds=2)


@pytest.mark.parametrize(
    "tag",
    [
        pytest.param(id3(1), id="ID3"),
        pytest.param(b"ID3\4\0\0\x7f\x7f\x7f\x7f", id="ID3 longer than the file"),
        pytest.param(ID3V1, id="old ID3"),
        pytest.param(ape(1)[-32:], id="APE longer than the file"),
    ],
)
def test_a_tag_alone_is_no_sound(tag: bytes) -> None:
    with pytest.raises(MediaError) as refused:
        probe_audio(tag, max_seconds=2)
    assert refused.value.code == "media_unreadable"


@pytest.mark.parametrize("file", [b"", b"ID3", b"ID3\xff\0\0\0\0\0\0", b"ID3\4\0\0\x80\0\0\0", b"TAG"])
def test_what_is_no_tag_stays(file: bytes) -> None:
    assert without_tags(file) == file


@pytest.mark.parametrize(
    "notes",
    [
        pytest.param(b"", id="none"),
        pytest.param(box(b"udta", titles(3)), id="titles"),
        pytest.param(box(b"udta", titles(60_000)), id="endless titles"),
        pytest.param(box(b"pssh", struct.pack(">I16sI4x", 0, b"a" * 16, 4)) * 60_000, id="endless licences"),
        pytest.param(box(b"meta", bytes(4) + box(b"ilst", titles(60_000))), id="endless titles elsewhere"),
    ],
)
def test_notes_do_not_change_what_is_seen(notes: bytes) -> None:
    assert probe_video(annotated(notes), max_seconds=2) == probe_video(MP4, max_seconds=2)


def test_notes_are_blanked_and_nothing_is_moved() -> None:
    mp4 = annotated(box(b"udta", titles(3)))
    clean = without_notes(mp4, check_boxes(mp4))
    assert len(clean) == len(mp4)
    assert b"udta" not in clean
    media = mp4.index(b"mdat")
    assert clean[media:][:500] == mp4[media:][:500]


def test_what_says_how_to_show_a_picture_is_no_note() -> None:
    assert (probe_video(turned(MP4, CLOCKWISE), max_seconds=2).width, probe_video(MP4, max_seconds=2).width) == (48, 64)
