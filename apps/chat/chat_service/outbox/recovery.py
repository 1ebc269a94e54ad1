"""What an earlier process has left in the folder of the outbox."""

from dataclasses import dataclass, field
from pathlib import Path

from chat_service.outbox.queue import SpooledRecord
from chat_service.outbox.records import RecordName
from chat_service.outbox.segment_reader import scan
from chat_service.outbox.segments import Segment, SegmentLog, first_number
from chat_service.outbox.spool import Spool
from servicekit.logs import get_logger

log = get_logger(__name__)


@dataclass(slots=True)
class Leftovers:
    """What was found.

    Attributes:
        spooled: records that are files, in their order.
        segments: those that can be read, in their order.
        unreadable: segments that cannot be read now. Each counts as one record.
        known: records of these segments that are files as well.
        last_number: of all records that were ever numbered, as far as known.
        dead_letters: records and segments in `refused/`, and segments that are found damaged.
    """

    spooled: list[SpooledRecord]
    dead_letters: int
    last_number: int
    segments: list[Segment] = field(default_factory=list)
    unreadable: list[Segment] = field(default_factory=list)
    known: set[RecordName] = field(default_factory=set)


def recover(spool: Spool, segments: SegmentLog) -> Leftovers:
    """Look through the folder. Of a segment only the headers of records are read.

    Raises:
        OSError: the folder cannot be used.
    """
    spooled = [SpooledRecord(name, size_bytes) for name, size_bytes in spool.waiting()]
    refused = spool.refused()
    files = {entry.name for entry in spooled} | set(refused)
    paths, moved = segments.paths(), spool.refused_segments()
    numbers = [*(name.number for name in files), *(first_number(path) for path in [*paths, *moved])]
    found = Leftovers(spooled, dead_letters=len(refused) + len(moved), last_number=max(numbers, default=0))
    for path in paths:
        try:
            segment, known, last_number = scan(path, is_last=path == paths[-1], known=files)
        except OSError as exc:
            segment = Segment(path, undelivered=1, oldest_ms=_written_ms(path))
            found.unreadable.append(segment)
            report_unreadable(segment.file, exc)
            continue
        found.segments.append(segment)
        found.known |= known
        found.last_number = max(found.last_number, last_number)
        if segment.damage:
            found.dead_letters += 1
            report_damage(segment, segment.damage)
    if found.unreadable:  # which of the files stand there, too, is not known yet
        found.known = files
    return found


def _written_ms(path: Path) -> int:
    """Return when a file was last written, in milliseconds since 1970; 0: that is not known either."""
    try:
        return int(path.stat().st_mtime * 1000)
    except OSError:
        return 0


def report_unreadable(file: str, exc: OSError) -> None:
    """Log that a file cannot be read now."""
    log.error(
        "outbox.unreadable",
        file=file,
        reason=exc.strerror,
        consequence="tried again later; the other records are delivered",
    )


def report_damage(segment: Segment, damage: list[str]) -> None:
    """Log what the disk has not kept of a segment."""
    log.error(
        "outbox.damaged",
        file=segment.file,
        reason="; ".join(damage),
        consequence="moved to refused/ when its other records are delivered",
    )
