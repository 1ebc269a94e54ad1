"""The boxes that an MP4 file is made of (ISO/IEC 14496-12, 4.2), read only as far as it takes to know it is whole.

FFmpeg plays what it can of a file that was cut short; we would rather tell the client. Every top-level box says how
long it is, so a file is whole when the boxes that a player needs, one after the other, end inside the file. Anything
behind the last of them (padding, a line of text, an index that was cut) is left out.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chat_service.media.base import MediaError
from frameproto import Buffer

SIZE_AND_TYPE: Final = struct.Struct(">I4s")
LARGE_SIZE: Final = struct.Struct(">Q")
TO_THE_END: Final = 0  # in place of a size: this box is the last one
IS_LARGE: Final = 1  # in place of a size: the real one follows, in 64 bits
MAX_BOXES: Final = 100_000  # a fragmented file has two for each fragment
NEEDED: Final = frozenset({b"ftyp", b"moov", b"moof", b"mdat"})
ENCRYPTED: Final = (b"encv", b"enca")
MEDIA: Final = frozenset({b"mdat", b"moof"})


@dataclass(frozen=True, slots=True)
class Box:
    """A box and where its content lies in the file, in bytes."""

    kind: bytes
    start: int
    end: int


def check_boxes(mp4: Buffer) -> list[Box]:
    """Check that this is an MP4 and that nothing of it is missing; return its boxes.

    Raises:
        MediaError: `media_unreadable`; the message says what is wrong.
    """
    view = memoryview(mp4)
    boxes = list(top_level_boxes(view))
    kinds = {box.kind for box in boxes}
    if b"ftyp" not in kinds:
        raise _unreadable("this is not an MP4: it has no file type box")
    if b"moov" not in kinds:
        raise _unreadable("the MP4 is cut short: its index (moov) is missing; send the whole file")
    if kinds.isdisjoint(MEDIA):
        raise _unreadable("the MP4 holds no media (mdat); send the whole file")
    return boxes


def refuse_encrypted(mp4: Buffer, boxes: Sequence[Box]) -> None:
    """Refuse a film or song that is sold with a lock (ISO/IEC 23001-7): its sample entries are called `encv` or `enca`.

    Raises:
        MediaError: `media_unreadable`.
    """
    view = memoryview(mp4)
    for box in boxes:
        if box.kind == b"moov" and any(entry in bytes(view[box.start : box.end]) for entry in ENCRYPTED):
            raise _unreadable("this file is encrypted (DRM), and only its own player opens it; send a recording")


def top_level_boxes(mp4: Buffer) -> Iterator[Box]:
    """Yield the boxes that lie one after the other in a file, as far as a player needs them.

    Raises:
        MediaError: `media_unreadable`; a box that is needed does not end inside the file.
    """
    view = memoryview(mp4)
    at = 0
    missing = {b"ftyp", b"moov", b"mdat"}
    for _ in range(MAX_BOXES):
        if at == len(view):
            return
        try:
            box = _box_at(view, at)
        except MediaError:
            if missing or _is_needed(view, at):
                raise
            return
        missing.discard(box.kind)
        yield box
        at = box.end
    raise _unreadable(f"the MP4 is in more than {MAX_BOXES} pieces")


def _box_at(view: memoryview, at: int) -> Box:
    if len(view) - at < SIZE_AND_TYPE.size:
        raise _cut_short(f"{len(view) - at} bytes are left over where a box should begin", at)
    size, kind = SIZE_AND_TYPE.unpack_from(view, at)
    start = at + SIZE_AND_TYPE.size
    if size == TO_THE_END:
        size = len(view) - at
    elif size == IS_LARGE:
        if len(view) - start < LARGE_SIZE.size:
            raise _cut_short("the size of its last box is missing", at)
        (size,) = LARGE_SIZE.unpack_from(view, start)
        start += LARGE_SIZE.size
    end = at + size
    if end < start or not _is_name(kind):
        raise _unreadable("this is not an MP4: what stands in it is not a box")
    if end > len(view):
        raise _cut_short(f'{end - len(view)} bytes of its box "{kind.decode()}" are missing', at)
    return Box(kind, start, end)


def _is_needed(view: memoryview, at: int) -> bool:
    return bytes(view[at + 4 : at + 8]) in NEEDED


def _is_name(kind: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in kind)  # noqa: PLR2004 - the printable part of ASCII


def _cut_short(what: str, at: int) -> MediaError:
    if at == 0:
        return _unreadable("this is not an MP4")
    return _unreadable(f"the MP4 is cut short: {what}; send the whole file")


def _unreadable(message: str) -> MediaError:
    return MediaError("media_unreadable", message)
