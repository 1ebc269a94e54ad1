"""Files that end before their end, by what their containers say: a recording whose upload broke off, for example.

An MP4 is not looked at here, as its boxes are read anyway (`boxes.py`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from chat_service.media.boxes import USUAL_LIMITS
from frameproto import Buffer
from frameproto.media import FileFormat

RIFF_HEADER_BYTES: Final = 8
UNKNOWN_RIFF_SIZE: Final = 0x7FFF_0000  # from here on: it was written as a stream
OGG_PAGE: Final = b"OggS"
OGG_HEADER_BYTES: Final = 27  # without its table of sizes, whose length is the last of them (RFC 3533, 6)

# Of Matroska (RFC 9559, 5.1): what lies at the top, in a segment and in a cluster; the names are different ones.
SEGMENT: Final = b"\x18\x53\x80\x67"
CLUSTER: Final = b"\x1f\x43\xb6\x75"
OPENED: Final = frozenset({SEGMENT, CLUSTER})
ELEMENTS: Final = OPENED | {
    b"\x1a\x45\xdf\xa3",  # EBML
    b"\x11\x4d\x9b\x74",  # SeekHead
    b"\x15\x49\xa9\x66",  # Info
    b"\x16\x54\xae\x6b",  # Tracks
    b"\x1c\x53\xbb\x6b",  # Cues
    b"\x19\x41\xa4\x69",  # Attachments
    b"\x10\x43\xa7\x70",  # Chapters
    b"\x12\x54\xc3\x67",  # Tags
    b"\xec",  # Void
    b"\xbf",  # CRC-32
    b"\xe7",  # Timestamp
    b"\x58\x54",  # SilentTracks
    b"\xa7",  # Position
    b"\xab",  # PrevSize
    b"\xa3",  # SimpleBlock
    b"\xa0",  # BlockGroup
    b"\xaf",  # EncryptedBlock
}


class Element(NamedTuple):
    """An element of Matroska; `end` is None when its size is not told."""

    name: bytes
    start: int
    end: int | None


def is_torn(file: Buffer, file_format: FileFormat) -> bool:
    """Say whether a WAV, Ogg or WebM ends in the middle of something, or cannot be followed to its end."""
    view = memoryview(file)
    match file_format:
        case FileFormat.WAV:
            size = int.from_bytes(view[4:8], "little")
            return len(view) < RIFF_HEADER_BYTES + size < UNKNOWN_RIFF_SIZE
        case FileFormat.OGG:
            return _is_torn_ogg(bytes(view))
        case FileFormat.WEBM:
            return _is_torn_webm(view)
        case _:
            return False


def _is_torn_ogg(ogg: bytes) -> bool:
    """Say whether the last page is not all there."""
    at = ogg.rfind(OGG_PAGE)
    header = ogg[at : at + OGG_HEADER_BYTES]
    sizes = ogg[at + OGG_HEADER_BYTES :][: header[-1]]
    return len(header) < OGG_HEADER_BYTES or len(ogg) < at + len(header) + header[-1] + sum(sizes)


def _is_torn_webm(view: memoryview) -> bool:
    """Say whether an element does not end inside the file, or what stands in a segment is none."""
    at = known_end = 0
    for element in _elements(view):
        if element.end is not None:
            if element.end > len(view):
                return True
            known_end = max(known_end, element.end)
        at = element.start if element.name in OPENED or element.end is None else element.end
    # Anything may follow a segment; behind one whose size is not told, it is damage when more clusters come.
    return at < known_end or CLUSTER in bytes(view[at:])


def _elements(view: memoryview) -> Iterator[Element]:
    """Yield elements in order, those of segments and clusters included, up to what is none."""
    at = 0
    for _ in range(USUAL_LIMITS.max_entries):
        name_size = _width(view, at, 4)
        name = bytes(view[at : at + name_size])
        at += name_size
        width = _width(view, at, 8)
        if name not in ELEMENTS or not width or at + width > len(view):
            return
        size = int.from_bytes(view[at : at + width], "big") - (1 << 7 * width)
        at += width
        end = None if size == (1 << 7 * width) - 1 else at + size
        yield Element(name, at, end)
        if name not in OPENED and end is not None:
            at = end


def _width(view: memoryview, at: int, longest: int) -> int:
    """Return how many bytes a number of Matroska has, by the zeros it begins with; 0 when none stands here."""
    if at >= len(view):
        return 0
    width = 9 - int(view[at]).bit_length()
    return width if width <= longest else 0
