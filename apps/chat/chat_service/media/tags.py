"""What people write into their files beside sound and picture: titles, covers, comments. Nobody asks for it here.

FFmpeg looks through all the notes it has for each further one, so a file of a megabyte, made for it, takes minutes to
open. It never gets to see them.
"""

import struct
from collections.abc import Sequence
from typing import Final

from chat_service.media.boxes import Box
from frameproto import Buffer

ID3_HEADER: Final = struct.Struct(">3s2BB4B")
ID3_HAS_FOOTER: Final = 0x10
ID3V1_SIZE: Final = 128
APE_FOOTER: Final = struct.Struct("<8sIIII8x")
APE_HAS_HEADER: Final = 1 << 31
LYRICS_END: Final = b"LYRICS200"
LYRICS_END_SIZE: Final = 6 + len(LYRICS_END)
LEAST_ZEROS: Final = 64
ZEROS_LOOKED_AT: Final = 1 << 20  # at once
# Boxes of notes, wherever they stand. pssh is of licences. sidx tells a player on the web what to fetch next; FFmpeg
# takes time for it that grows with the square of its entries.
NOTES: Final = (b"udta", b"meta", b"ilst", b"keys", b"pssh", b"sidx")
IGNORED: Final = b"free"


def without_tags(mp3: Buffer) -> memoryview:
    """Return an MP3 without the ID3, APE and Lyrics3 tags around it, and without zeros behind its end."""
    view = memoryview(mp3)
    while size := _id3_size(view):
        view = view[size:]
    while size := _id3v1_size(view) or _ape_size(view) or _lyrics_size(view) or _zeros(view):
        view = view[: max(0, len(view) - size)]
    return view


def without_notes(mp4: Buffer, boxes: Sequence[Box]) -> bytes:
    """Return an MP4 up to the end of its last box, whose boxes of notes are marked as free room.

    Args:
        mp4: the file.
        boxes: its top-level boxes.
    """
    clean = bytearray(memoryview(mp4)[: boxes[-1].end])
    at = 0
    for box in boxes:
        if box.kind != b"mdat":
            whole = clean[at : box.end]
            for kind in NOTES:
                whole = whole.replace(kind, IGNORED)
            clean[at : box.end] = whole
        at = box.end
    return bytes(clean)


def _id3_size(view: memoryview) -> int:
    if len(view) < ID3_HEADER.size:
        return 0
    mark, major, minor, flags, *size = ID3_HEADER.unpack_from(view)
    if mark != b"ID3" or 0xFF in {major, minor} or max(size) > 0x7F:  # noqa: PLR2004 - seven bits of each byte count
        return 0
    total = size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3]
    return int(ID3_HEADER.size + total + (ID3_HEADER.size if flags & ID3_HAS_FOOTER else 0))


def _id3v1_size(view: memoryview) -> int:
    return ID3V1_SIZE if len(view) >= ID3V1_SIZE and bytes(view[-ID3V1_SIZE:][:3]) == b"TAG" else 0


def _ape_size(view: memoryview) -> int:
    if len(view) < APE_FOOTER.size:
        return 0
    mark, _version, size, _items, flags = APE_FOOTER.unpack_from(view, len(view) - APE_FOOTER.size)
    if mark != b"APETAGEX":
        return 0
    return int(max(size, APE_FOOTER.size) + (APE_FOOTER.size if flags & APE_HAS_HEADER else 0))


def _lyrics_size(view: memoryview) -> int:
    """Return the size of a Lyrics3 v2 tag: six digits behind it tell how long it is up to them."""
    end = bytes(view[-LYRICS_END_SIZE:])
    if not end.endswith(LYRICS_END) or not end[:6].isdigit():
        return 0
    return int(end[:6]) + LYRICS_END_SIZE


def _zeros(view: memoryview) -> int:
    """Return how many zeros stand at the end, once there are more than a frame of sound may end in."""
    end = bytes(view[-ZEROS_LOOKED_AT:])
    count = len(end) - len(end.rstrip(b"\0"))
    return count if count >= LEAST_ZEROS else 0
