"""When a kind of message is served, in the local time of the client."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

SPAN: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """Half-open spans of local minutes: 09:00-17:00 is open at 09:00 and closed at 17:00. No span means all day.

    A span whose end is not after its start goes past midnight.
    """

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read `HH:MM-HH:MM`, several separated by commas, or nothing at all (or `all day`) for always.

        Raises:
            ValueError: it reads otherwise.
        """
        text = raw.strip().lower()
        if text in {"", "all day"}:
            return cls()
        return cls(tuple(_span(part.strip()) for part in text.split(",")))

    def open_at(self, local: datetime) -> bool:
        """Say whether it is open at this local time."""
        minute = local.hour * 60 + local.minute
        return not self.spans or any(
            start <= minute < end if start < end else minute >= start or minute < end for start, end in self.spans
        )

    def describe(self) -> str:
        """Return the hours in words that fit behind "served"."""
        return ", ".join(f"{_clock(start)}-{_clock(end)}" for start, end in self.spans) or "all day"

    def __str__(self) -> str:
        return self.describe()


def _span(raw: str) -> tuple[int, int]:
    found = SPAN.fullmatch(raw)
    if found is None:
        raise ValueError('must be hours such as "09:00-17:00" or "08:00-12:00,22:00-02:00", or empty for all day')
    start, end = (_minute(*found.groups()[at : at + 2]) for at in (0, 2))
    if start in {end, DAY}:
        raise ValueError(f'the span "{raw}" is empty; leave the setting empty for all day')
    return start, end


def _minute(hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f'"{hours}:{minutes}" is not a time of day; 00:00 to 24:00 are')
    return minute


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
