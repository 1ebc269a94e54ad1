import struct

import pytest

from frameproto import MediaPart
from frameproto.media import (
    OTHER_FORMATS,
    OWN_FORMATS,
    UNFIT,
    FileFormat,
    by_suffix,
    format_of,
    identify,
    media_type,
    suffix_of,
)


def ftyp(brand: bytes) -> bytes:
    return struct.pack(">I4s4sI", 16, b"ftyp", brand, 0) + bytes(20)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (ftyp(b"isom"), FileFormat.MP4),
        (ftyp(b"mp42"), FileFormat.MP4),
        (ftyp(b"3gp5"), FileFormat.MP4),
        (ftyp(b"M4A "), FileFormat.M4A),
        (ftyp(b"qt  "), FileFormat.QUICKTIME),
        (b"ID3\4\0\0\0\0\0\0", FileFormat.MP3),
        (b"\xff\xfb\x90\x64", FileFormat.MP3),
        (b"\xff\xf3\x48\xc4", FileFormat.MP3),
        (b"\xff\xe3\x18\xc4", FileFormat.MP3),  # MPEG 2.5
        (b"\xff\xfb", FileFormat.MP3),
        (b"\xff\xf1\x50\x80", FileFormat.AAC),
        (b"\xff\xf9\x50\x80", FileFormat.AAC),
        (b"OggS\0\2", FileFormat.OGG),
        (b"fLaC\0", FileFormat.FLAC),
        (b"#!AMR\n", FileFormat.AMR),
        (b"RIFF\x24\0\0\0WAVEfmt ", FileFormat.WAV),
        (b"RIFF\x24\0\0\0AVI LIST", FileFormat.AVI),
        (b"RIFF\x24\0\0\0WEBPVP8 ", FileFormat.WEBP),
        (b"RIFF\x24\0\0\0RMP3data", None),
        (b"FORM\0\0\x01\0AIFFCOMM", FileFormat.AIFF),
        (b"FORM\0\0\x01\0AIFCFVER", FileFormat.AIFF),
        (b"caff\0\1\0\0desc", FileFormat.CAF),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", FileFormat.WINDOWS_MEDIA),
        (b"FLV\x01\x05\0\0\0\x09", FileFormat.FLASH),
        (3 * (b"G" + bytes(187)), FileFormat.MPEG_TS),
        (b"G" + bytes(600), None),
        (b"\0\0\x01\xba\x44", FileFormat.MPEG_PS),
        (ftyp(b"heic"), FileFormat.HEIC),
        (ftyp(b"avif"), FileFormat.AVIF),
        (b"PK\x03\x04\x14\0", FileFormat.ZIP),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1B\x82\x84webm", FileFormat.WEBM),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1B\x82\x88matroska", FileFormat.MATROSKA),
        (b"\xff\xd8\xff\xe0", FileFormat.JPEG),
        (b"\x89PNG\r\n\x1a\n", FileFormat.PNG),
        (b"GIF89a", FileFormat.GIF),
        (b"%PDF-1.7", FileFormat.PDF),
        (b"", None),
        (b"\xff", None),
        (b"\xff\xff\xff\xff", None),
        (b"hello", None),
        (bytes(100), None),
    ],
)
def test_a_file_is_known_by_its_beginning(head: bytes, found: FileFormat | None) -> None:
    assert identify(head) is found
    assert identify(memoryview(bytearray(head))) is found


@pytest.mark.parametrize(
    ("file", "part", "found"),
    [
        (b"OggS\0\2", MediaPart.VOICE, FileFormat.OGG),
        (b"fLaC\0", MediaPart.VIDEO, FileFormat.FLAC),  # is kept, though nothing plays it as a video
        (b"hello", MediaPart.VOICE, FileFormat.MP3),
        (b"hello", MediaPart.VIDEO, FileFormat.MP4),
        (b"\xff\xd8\xff\xe0", MediaPart.IMAGE, FileFormat.JPEG),
        (b"\x89PNG\r\n\x1a\n", MediaPart.IMAGE, FileFormat.JPEG),  # is not looked at
    ],
)
def test_a_part_is_kept_in_its_format_or_in_that_of_the_protocol(
    file: bytes, part: MediaPart, found: FileFormat
) -> None:
    assert format_of(file, part) is found


@pytest.mark.parametrize("each", FileFormat)
def test_a_suffix_leads_back_to_its_format(each: FileFormat) -> None:
    assert by_suffix(each.suffix) is each


def test_an_unknown_suffix() -> None:
    assert by_suffix("xyz") is None


@pytest.mark.parametrize("part", MediaPart)
def test_whatever_is_accepted_has_a_media_type_and_a_suffix(part: MediaPart) -> None:
    for each in (OWN_FORMATS[part], *OTHER_FORMATS[part]):
        found = media_type(each, part)
        assert found.startswith(("audio/", "video/", "image/"))
        assert suffix_of(found).startswith(".")


def test_what_is_neither_sound_nor_video_is_just_bytes() -> None:
    assert media_type(FileFormat.PNG, MediaPart.VOICE) == media_type(FileFormat.WAV, MediaPart.VIDEO) == UNFIT
    assert suffix_of(UNFIT) == ""


def test_media_types_of_the_protocol() -> None:
    assert media_type(FileFormat.MP3, MediaPart.VOICE) == "audio/mpeg"
    assert media_type(FileFormat.MP4, MediaPart.VIDEO) == "video/mp4"
    assert [suffix_of(each) for each in ("audio/mpeg", "video/mp4", "image/jpeg", "audio/mp4")] == [
        *(".mp3", ".mp4", ".jpg", ".m4a"),
    ]
