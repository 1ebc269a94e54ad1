"""The time of day where the reader is."""

from datetime import UTC, datetime


def local(moment: datetime) -> datetime:
    """Return a moment by the clock of this machine, or in UTC when its TZ is a day or more away, which no zone is."""
    try:
        return moment.astimezone()
    except ValueError:
        return moment.astimezone(UTC)


def now() -> datetime:
    """Return the time of this machine."""
    return local(datetime.now(UTC))
