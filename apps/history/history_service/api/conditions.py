"""Conditional requests and ranges for media, which never change (RFC 9110, sections 13 and 14)."""

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from starlette.datastructures import Headers

from servicekit.problems import Problem

TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')

RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
MAX_DIGITS: Final = 18  # of a position; a longer one is beyond any media, and Python limits the length of numbers


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def http_date(moment: datetime) -> str:
    """Format a time in UTC for `Last-Modified`, to the second."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def is_known(headers: Headers, *, etag: str, modified_at: datetime) -> bool:
    """Say whether the client has the current version: by `If-None-Match`, or without that by `If-Modified-Since`."""
    tags = ",".join(headers.getlist("if-none-match"))
    if tags:
        return tags.strip() == "*" or etag in TAG.findall(tags)
    since = _date(headers.get("if-modified-since"))
    return since is not None and modified_at.replace(microsecond=0) <= since


def is_same(headers: Headers, *, etag: str, modified_at: datetime) -> bool:
    """Say whether a range is of these bytes, as far as `If-Range` asks: only a strong tag or the very date is."""
    condition = headers.get("if-range")
    return condition is None or condition.strip() in {etag, http_date(modified_at)}


def _date(raw: str | None) -> datetime | None:
    """Return the time in a date header; None: it cannot be parsed."""
    try:
        parsed = None if raw is None else parsedate_to_datetime(raw)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed is not None and parsed.tzinfo is not None else None


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the requested range; None: several, or another unit, which may be answered in full (RFC 9110, 14.2).

    Raises:
        Problem: 416, the range is not within the media.
    """
    found = RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = map(_position, found.groups())
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or end <= start:
        raise Problem(
            416, "range_not_satisfiable", f"the media has {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return ByteRange(start, end)


def _position(digits: str) -> str:
    """Parse a position; a very long number becomes one beyond any media."""
    digits = digits.lstrip("0") or digits[:1]
    return digits if len(digits) <= MAX_DIGITS else "9" * MAX_DIGITS
