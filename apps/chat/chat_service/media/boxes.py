"""The boxes that an MP4 file is made of (ISO/IEC 14496-12, 4.2), read before FFmpeg sees the file.

They tell whether the file is whole, and how much work it is.

FFmpeg plays what it can of a file that was cut short; we would rather tell the client. Every top-level box says how
long it is, so a file is whole when the boxes that a player needs, one after the other, end inside the file. Anything
behind the last of them (padding, a line of text, an index that was cut) is left out.

The work of a demuxer grows with the boxes and with the entries of their tables, and a table of a few bytes can claim
millions of entries. Files that are too much work are refused by these numbers, before anything is spent on them.
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
NEEDED: Final = frozenset({b"ftyp", b"moov", b"moof", b"mdat"})
ENCRYPTED: Final = frozenset({b"encv", b"enca", b"drms", b"drmi"})  # the latter two are older, of iTunes
SAMPLE_ENTRIES_AT: Final = 8  # in stsd: behind version, flags and count
MEDIA: Final = frozenset({b"mdat", b"moof"})
CONTAINERS: Final = frozenset(
    {b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf", b"mfra"}
)
COUNT: Final = struct.Struct(">I")
SHORT_COUNT: Final = struct.Struct(">H")
COUNT_AT: Final = {  # where a table says how many entries it has, from the beginning of its content
    **dict.fromkeys((b"stsd", b"stts", b"ctts", b"stsc", b"stco", b"co64", b"stss", b"elst", b"trun"), 4),
    b"stsz": 8,
    b"stz2": 8,
}
FIXED_SIZE_AT: Final = 4  # in stsz: the size of every sample, or 0 when each has an entry
SIDX_COUNT_AT: Final = {0: 22, 1: 30}  # by version


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """How much a file may hold.

    Attributes:
        max_boxes: boxes, those within others included. A fragment has about eight for each track.
        max_entries: entries of all tables together. A picture or a piece of sound has up to five.
    """

    max_boxes: int = 100_000
    max_entries: int = 500_000


USUAL_LIMITS: Final = WorkLimits()


@dataclass(frozen=True, slots=True)
class Box:
    """A box and where its content lies in the file, in bytes."""

    kind: bytes
    start: int
    end: int


def check_boxes(mp4: Buffer, limits: WorkLimits = USUAL_LIMITS, *, torn_allowed: bool = False) -> list[Box]:
    """Check that this is an MP4, that nothing of it is missing, and that it is not too much work; return its boxes.

    Args:
        mp4: the file.
        limits: how much work it may be.
        torn_allowed: whether media may be missing at its end; its index may not. `media_are_missing` then tells.

    Raises:
        MediaError: `media_unreadable` or `media_too_complex`; the message says what is wrong.
    """
    view = memoryview(mp4)
    boxes = list(top_level_boxes(view, limits, torn_allowed=torn_allowed))
    kinds = {box.kind for box in boxes}
    if b"ftyp" not in kinds:
        raise _unreadable("this is not an MP4: it has no file type box")
    if b"moov" not in kinds:
        raise _unreadable("the MP4 is cut short: its index (moov) is missing; send the whole file")
    if kinds.isdisjoint(MEDIA):
        raise _unreadable("the MP4 holds no media (mdat); send the whole file")
    _check_work(view, boxes, limits)
    if not torn_allowed and media_are_missing(view, boxes):
        raise _unreadable("the MP4 is damaged: a part of its pictures and sound cannot be found; send the whole file")
    return boxes


def media_are_missing(mp4: Buffer, boxes: Sequence[Box]) -> bool:
    """Say whether media are missing: the last box is longer than the file, or fragments lie behind what can be read."""
    view = memoryview(mp4)
    end = boxes[-1].end
    return end > len(view) or (any(box.kind == b"moof" for box in boxes) and b"moof" in bytes(view[end:]))


def refuse_encrypted(mp4: Buffer, boxes: Sequence[Box]) -> None:
    """Refuse a film or song that is sold with a lock (ISO/IEC 23001-7), by the names of its sample entries.

    Raises:
        MediaError: `media_unreadable`.
    """
    view = memoryview(mp4)
    for box in _all_boxes(view, boxes, USUAL_LIMITS):
        if box.kind == b"stsd":
            entries = Box(box.kind, box.start + SAMPLE_ENTRIES_AT, box.end)
            if any(entry.kind in ENCRYPTED for entry in _children(view, entries, USUAL_LIMITS)):
                raise _unreadable("this file is encrypted (DRM), and only its own player opens it; send a recording")


def top_level_boxes(mp4: Buffer, limits: WorkLimits, *, torn_allowed: bool = False) -> Iterator[Box]:
    """Yield the boxes that lie one after the other in a file, as far as a player needs them.

    With `torn_allowed`, the last one may be media that do not end inside the file.

    Raises:
        MediaError: `media_unreadable`, a box that is needed does not end inside the file; `media_too_complex`.
    """
    view = memoryview(mp4)
    at = 0
    missing = {b"ftyp", b"moov", b"mdat"}
    for _ in range(limits.max_boxes + 1):
        if at == len(view):
            return
        may_be_torn = torn_allowed and missing <= {b"mdat"}
        try:
            box = _box_at(view, at)
            if box.end > len(view) and not (may_be_torn and box.kind == b"mdat"):
                raise _cut_short(f'{box.end - len(view)} bytes of its box "{box.kind.decode()}" are missing', at)
        except MediaError:
            if not may_be_torn and (missing or _is_needed(view, at)):
                raise
            return
        missing.discard(box.kind)
        yield box
        if box.end > len(view):
            return
        at = box.end
    raise _too_many_boxes(limits)


def _check_work(view: memoryview, boxes: Sequence[Box], limits: WorkLimits) -> None:
    """Count boxes and table entries, those that FFmpeg would see. Raises MediaError, `media_too_complex`."""
    entries = 0
    for count, box in enumerate(_all_boxes(view, boxes, limits), 1):
        if count > limits.max_boxes:
            raise _too_many_boxes(limits)
        entries += _entries(view, box)
        if entries > limits.max_entries:
            raise _too_complex(f"the tables of this MP4 have more than {limits.max_entries:,} entries")


def _all_boxes(view: memoryview, boxes: Sequence[Box], limits: WorkLimits) -> Iterator[Box]:
    """Yield these boxes and all within them, as far as FFmpeg looks for any."""
    unread = list(boxes)
    while unread:
        box = unread.pop()
        yield box
        if box.kind in CONTAINERS:
            unread.extend(_children(view, box, limits))


def _children(view: memoryview, parent: Box, limits: WorkLimits) -> Iterator[Box]:
    """Yield the boxes within a box, as far as they can be read."""
    at = parent.start
    for _ in range(limits.max_boxes + 1):
        if parent.end - at < SIZE_AND_TYPE.size:
            return
        size, kind = SIZE_AND_TYPE.unpack_from(view, at)
        start = at + SIZE_AND_TYPE.size
        if size == IS_LARGE and parent.end - start >= LARGE_SIZE.size:
            (size,) = LARGE_SIZE.unpack_from(view, start)
            start += LARGE_SIZE.size
        end = parent.end if size == TO_THE_END else at + size
        if end < start:  # FFmpeg gives up here, too
            return
        yield Box(kind, start, min(end, parent.end))
        at = end


def _entries(view: memoryview, box: Box) -> int:
    """Return how many entries a box claims to have; 0 when it is no table."""
    if box.kind == b"sidx":
        at, form = SIDX_COUNT_AT.get(view[box.start] if box.start < box.end else 0, SIDX_COUNT_AT[1]), SHORT_COUNT
    elif box.kind in COUNT_AT:
        at, form = COUNT_AT[box.kind], COUNT
    else:
        return 0
    if box.start + at + form.size > box.end:
        return 0
    if box.kind == b"stsz" and COUNT.unpack_from(view, box.start + FIXED_SIZE_AT)[0]:
        return 0  # plain samples of sound, which FFmpeg takes in blocks
    (count,) = form.unpack_from(view, box.start + at)
    return int(count)


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


def _too_many_boxes(limits: WorkLimits) -> MediaError:
    return _too_complex(f"this MP4 is in more than {limits.max_boxes:,} pieces")


def _too_complex(why: str) -> MediaError:
    return MediaError("media_too_complex", f"{why}, which is too much work; export it anew as a plain video")
