"""Which file formats voice, video and pictures come in, and how to tell a format by its first bytes.

The protocol's own formats are MP3, MP4 and JPEG; a server may accept the others too (docs/protocol.md). Whatever a body
is, it is kept as it came, so those who serve it need its true media type.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from frameproto.kinds import Buffer, MediaPart

LOOKED_AT_BYTES: Final = 4096  # a WebM says what it is somewhere in its first few hundred
FILE_TYPE: Final = b"ftyp"
ADTS_SYNC: Final = (0xFF, 0xF6, 0xF0)  # first byte, then mask and value of the second: AAC has layer 0
TS_PACKET_BYTES: Final = 188
TS_SYNC: Final = b"G"
MPEG_SYNC: Final = (0xFF, 0xE6, 0xE2)  # the same of MPEG audio, layer III


_VOICE, _VIDEO, _IMAGE = MediaPart.VOICE, MediaPart.VIDEO, MediaPart.IMAGE


class FileFormat(Enum):
    """A file format: its name for people, its suffix, and its media types by the part that it may be."""

    MP3 = ("MP3", _VOICE.suffix, {_VOICE: _VOICE.media_type})
    M4A = ("M4A", "m4a", {_VOICE: "audio/mp4"})
    MP4 = ("MP4", _VIDEO.suffix, {_VOICE: "audio/mp4", _VIDEO: _VIDEO.media_type})
    QUICKTIME = ("QuickTime movie", "mov", {_VOICE: "video/quicktime", _VIDEO: "video/quicktime"})
    AAC = ("AAC", "aac", {_VOICE: "audio/aac"})
    OGG = ("Ogg", "ogg", {_VOICE: "audio/ogg", _VIDEO: "video/ogg"})
    WAV = ("WAV", "wav", {_VOICE: "audio/wav"})
    FLAC = ("FLAC", "flac", {_VOICE: "audio/flac"})
    WEBM = ("WebM", "webm", {_VOICE: "audio/webm", _VIDEO: "video/webm"})
    MATROSKA = ("Matroska", "mkv", {_VOICE: "audio/x-matroska", _VIDEO: "video/x-matroska"})
    AMR = ("AMR", "amr", {_VOICE: "audio/amr"})
    AVI = ("AVI", "avi", {_VIDEO: "video/x-msvideo"})
    AIFF = ("AIFF", "aiff")
    CAF = ("Core Audio", "caf")
    WINDOWS_MEDIA = ("Windows Media", "wmv")
    FLASH = ("Flash video", "flv")
    MPEG_TS = ("MPEG transport stream", "ts")
    MPEG_PS = ("MPEG program stream", "mpg")
    JPEG = ("JPEG", _IMAGE.suffix, {_IMAGE: _IMAGE.media_type})
    PNG = ("PNG", "png")
    GIF = ("GIF", "gif")
    HEIC = ("HEIC picture", "heic")
    AVIF = ("AVIF picture", "avif")
    WEBP = ("WebP picture", "webp")
    ZIP = ("ZIP archive", "zip")
    PDF = ("PDF", "pdf")

    def __init__(self, label: str, suffix: str, media_types: Mapping[MediaPart, str] | None = None) -> None:
        self.label = label
        self.suffix = suffix
        self.media_types = media_types or {}


UNFIT: Final = "application/octet-stream"
"""The media type of a file that is not of the part it was sent as; nothing plays it."""

CONTENT_TYPES: Final = frozenset({UNFIT, *(each for form in FileFormat for each in form.media_types.values())})
"""All media types that media can have in history."""

_SUFFIXES: Final = {each.suffix: each for each in FileFormat}

OWN_FORMATS: Final = {part: _SUFFIXES[part.suffix] for part in MediaPart}
"""What the protocol itself says about each part."""

OTHER_FORMATS: Final[Mapping[MediaPart, tuple[FileFormat, ...]]] = {
    MediaPart.VOICE: (
        FileFormat.M4A,
        FileFormat.MP4,
        FileFormat.AAC,
        FileFormat.OGG,
        FileFormat.WAV,
        FileFormat.FLAC,
        FileFormat.WEBM,
    ),
    MediaPart.VIDEO: (FileFormat.QUICKTIME, FileFormat.WEBM),
    MediaPart.IMAGE: (),
}
"""What a server may accept besides: the formats that browsers and phones record in."""

_BEGINNINGS: Final = (
    (b"OggS", FileFormat.OGG),
    (b"fLaC", FileFormat.FLAC),
    (b"#!AMR", FileFormat.AMR),
    (b"\xff\xd8\xff", FileFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", FileFormat.PNG),
    (b"GIF8", FileFormat.GIF),
    (b"%PDF-", FileFormat.PDF),
    (b"ID3", FileFormat.MP3),
    (b"caff", FileFormat.CAF),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileFormat.WINDOWS_MEDIA),
    (b"FLV\x01", FileFormat.FLASH),
    (b"\0\0\x01\xba", FileFormat.MPEG_PS),
    (b"PK\x03\x04", FileFormat.ZIP),
)
_BRANDS: Final = {
    b"M4A ": FileFormat.M4A,
    b"M4B ": FileFormat.M4A,
    b"F4A ": FileFormat.M4A,
    b"qt  ": FileFormat.QUICKTIME,
    b"heic": FileFormat.HEIC,
    b"heix": FileFormat.HEIC,
    b"mif1": FileFormat.HEIC,
    b"avif": FileFormat.AVIF,
}
_CHUNKED: Final = {  # by the first four bytes and the third four
    (b"RIFF", b"WAVE"): FileFormat.WAV,
    (b"RF64", b"WAVE"): FileFormat.WAV,
    (b"RIFF", b"AVI "): FileFormat.AVI,
    (b"RIFF", b"WEBP"): FileFormat.WEBP,
    (b"FORM", b"AIFF"): FileFormat.AIFF,
    (b"FORM", b"AIFC"): FileFormat.AIFF,
}
_OF_TYPE: Final = {
    media_type: each  # of two with the same type, the one that comes first
    for each in reversed(FileFormat)
    for media_type in each.media_types.values()
}
_EBML: Final = b"\x1a\x45\xdf\xa3"


def identify(file: Buffer) -> FileFormat | None:
    """Return the format of a file by its first bytes; None when it looks like none of these.

    The answer is a guess by the marks that each format begins with; whether the file is sound is not looked at.
    """
    head = bytes(memoryview(file)[:LOOKED_AT_BYTES])
    if head[4:8] == FILE_TYPE:
        return _BRANDS.get(head[8:12], FileFormat.MP4)
    if found := _CHUNKED.get((head[:4], head[8:12])):
        return found
    if head[:4] == _EBML:
        return FileFormat.WEBM if b"webm" in head else FileFormat.MATROSKA
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    if head[: 3 * TS_PACKET_BYTES : TS_PACKET_BYTES] == TS_SYNC * 3:
        return FileFormat.MPEG_TS
    return _by_sync(head)


def by_suffix(suffix: str) -> FileFormat | None:
    """Return the format whose files end so, e.g. `mp3`."""
    return _SUFFIXES.get(suffix)


def suffix_of(media_type: str) -> str:
    """Return how the name of a file of this media type ends, with its dot; nothing when the type is not known."""
    found = _OF_TYPE.get(media_type)
    return f".{found.suffix}" if found else ""


def media_type(file_format: FileFormat, part: MediaPart) -> str:
    """Return the media type of such a file as such a part (RFC 6838), e.g. `audio/mp4`."""
    return file_format.media_types.get(part, UNFIT)


def format_of(file: Buffer, part: MediaPart) -> FileFormat:
    """Return the format in which a part is kept; bytes that look like none are taken for the protocol's own.

    A part that has no other formats (a picture, which only the server sends) is not looked at.
    """
    return (identify(file) if OTHER_FORMATS[part] else None) or OWN_FORMATS[part]


def _by_sync(head: bytes) -> FileFormat | None:
    """Tell the formats that begin with a frame of sound at once."""
    if len(head) < 2:  # noqa: PLR2004 - the two bytes that are looked at
        return None
    for (first, mask, value), found in ((ADTS_SYNC, FileFormat.AAC), (MPEG_SYNC, FileFormat.MP3)):
        if head[0] == first and head[1] & mask == value:
            return found
    return None
