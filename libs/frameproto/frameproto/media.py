"""Which file formats voice, video and pictures come in, and how to tell a format by its first bytes.

The protocol's own formats are MP3, MP4 and JPEG; a server may accept the others too (docs/protocol.md). Whatever a body
is, it is kept as it came, so those who serve it need its true media type.
"""

from enum import Enum
from typing import Final

from frameproto.kinds import Buffer, RequestKind

LOOKED_AT_BYTES: Final = 4096  # a WebM says what it is somewhere in its first few hundred
FILE_TYPE: Final = b"ftyp"
ADTS_SYNC: Final = (0xFF, 0xF6, 0xF0)  # first byte, then mask and value of the second: AAC has layer 0
MPEG_SYNC: Final = (0xFF, 0xE6, 0xE2)  # the same of MPEG audio, layer III


class FileFormat(Enum):
    """A file format: its name for people, its suffix, its media types as voice and as video (None: never that)."""

    MP3 = ("MP3", "mp3", "audio/mpeg", None)
    M4A = ("M4A", "m4a", "audio/mp4", None)
    MP4 = ("MP4", "mp4", "audio/mp4", "video/mp4")
    QUICKTIME = ("QuickTime movie", "mov", "video/quicktime", "video/quicktime")
    AAC = ("AAC", "aac", "audio/aac", None)
    OGG = ("Ogg", "ogg", "audio/ogg", "video/ogg")
    WAV = ("WAV", "wav", "audio/wav", None)
    FLAC = ("FLAC", "flac", "audio/flac", None)
    WEBM = ("WebM", "webm", "audio/webm", "video/webm")
    MATROSKA = ("Matroska", "mkv", "audio/x-matroska", "video/x-matroska")
    AMR = ("AMR", "amr", "audio/amr", None)
    AVI = ("AVI", "avi", None, "video/x-msvideo")
    JPEG = ("JPEG", "jpg", None, None)
    PNG = ("PNG", "png", None, None)
    GIF = ("GIF", "gif", None, None)
    PDF = ("PDF", "pdf", None, None)

    def __init__(self, label: str, suffix: str, voice_type: str | None, video_type: str | None) -> None:
        self.label = label
        self.suffix = suffix
        self.voice_type = voice_type
        self.video_type = video_type


UNFIT: Final = "application/octet-stream"
"""The media type of a file that is neither sound nor video; nothing plays it."""

OWN_FORMATS: Final = {RequestKind.VOICE: FileFormat.MP3, RequestKind.VIDEO: FileFormat.MP4}
"""What the protocol itself says about the body of a request."""

OTHER_FORMATS: Final = {
    RequestKind.VOICE: (
        FileFormat.M4A,
        FileFormat.MP4,
        FileFormat.AAC,
        FileFormat.OGG,
        FileFormat.WAV,
        FileFormat.FLAC,
        FileFormat.WEBM,
    ),
    RequestKind.VIDEO: (FileFormat.QUICKTIME, FileFormat.WEBM),
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
)
_BRANDS: Final = {
    b"M4A ": FileFormat.M4A,
    b"M4B ": FileFormat.M4A,
    b"F4A ": FileFormat.M4A,
    b"qt  ": FileFormat.QUICKTIME,
}
_RIFF: Final = {b"WAVE": FileFormat.WAV, b"AVI ": FileFormat.AVI}
_SUFFIXES: Final = {each.suffix: each for each in FileFormat}
_OF_TYPE: Final = {"image/jpeg": FileFormat.JPEG} | {
    media_type: each  # of two with the same type, the one that comes first
    for each in reversed(FileFormat)
    for media_type in (each.voice_type, each.video_type)
    if media_type
}
_EBML: Final = b"\x1a\x45\xdf\xa3"


def identify(file: Buffer) -> FileFormat | None:
    """Return the format of a file by its first bytes; None when it looks like none of these.

    The answer is a guess by the marks that each format begins with; whether the file is sound is not looked at.
    """
    head = bytes(memoryview(file)[:LOOKED_AT_BYTES])
    if head[4:8] == FILE_TYPE:
        return _BRANDS.get(head[8:12], FileFormat.MP4)
    if head[:4] in {b"RIFF", b"RF64"}:
        return _RIFF.get(head[8:12])
    if head[:4] == _EBML:
        return FileFormat.WEBM if b"webm" in head else FileFormat.MATROSKA
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning):
            return found
    return _by_sync(head)


def by_suffix(suffix: str) -> FileFormat | None:
    """Return the format whose files end so, e.g. `mp3`."""
    return _SUFFIXES.get(suffix)


def suffix_of(media_type: str) -> str:
    """Return how the name of a file of this media type ends, with its dot; nothing when the type is not known."""
    found = _OF_TYPE.get(media_type)
    return f".{found.suffix}" if found else ""


def media_type(file_format: FileFormat, kind: RequestKind) -> str:
    """Return the media type of such a file as the body of such a request (RFC 6838), e.g. `audio/mp4`."""
    return (file_format.voice_type if kind is RequestKind.VOICE else file_format.video_type) or UNFIT


def _by_sync(head: bytes) -> FileFormat | None:
    """Tell the formats that begin with a frame of sound at once."""
    if len(head) < 2:  # noqa: PLR2004 - the two bytes that are looked at
        return None
    for (first, mask, value), found in ((ADTS_SYNC, FileFormat.AAC), (MPEG_SYNC, FileFormat.MP3)):
        if head[0] == first and head[1] & mask == value:
            return found
    return None
