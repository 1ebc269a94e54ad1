"""Conditional requests for what never changes (RFC 9110, section 13)."""

import re
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from starlette.datastructures import Headers

TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def http_date(moment: datetime) -> str:
    """Return a moment in UTC as `Last-Modified` has it, to the second."""
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def is_known(headers: Headers, *, etag: str, modified_at: datetime) -> bool:
    """Say whether the client has it: by `If-None-Match`, or only without that by `If-Modified-Since`."""
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
    """Return the moment of a date header; what cannot be read counts for nothing."""
    try:
        parsed = None if raw is None else parsedate_to_datetime(raw)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed is not None and parsed.tzinfo is not None else None
