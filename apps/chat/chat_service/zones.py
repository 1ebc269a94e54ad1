"""Time zones as clients name them: an IANA name or a fixed offset, the same on every machine.

Names are looked up in the `tzdata` package only. The files of the operating system may be missing in an image, differ
between machines, and hold names such as `localtime` that mean the server's own zone.
"""

import re
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Final, Self
from zoneinfo import ZoneInfo

OFFSET: Final = re.compile(r"([+\- ])(\d{2}):(\d{2})")
MAX_OFFSET: Final = timedelta(hours=14)
LONGEST_NAME: Final = 64


class ZoneError(ValueError):
    """This is not a time zone; `code` is `time_zone_malformed` or `time_zone_unknown`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TimeZone:
    """A time zone and its canonical name."""

    name: str
    tzinfo: tzinfo


def parse_time_zone(raw: str) -> TimeZone:
    """Return the zone with this name, or with this fixed offset from UTC.

    A query string turns the plus sign of `+07:00` into a space, so a leading space means plus.

    Raises:
        ZoneError: it is neither.
    """
    if not raw or len(raw) > LONGEST_NAME or not raw.isascii() or not raw.isprintable():
        raise ZoneError(
            "time_zone_malformed", "timeZone must be a name such as Europe/Berlin or an offset such as +07:00"
        )
    offset = OFFSET.fullmatch(raw)
    if offset is not None:
        return _fixed(*offset.groups())
    if raw[0] in "+- " or raw[0].isdigit():
        raise ZoneError("time_zone_malformed", "an offset from UTC is written +HH:MM or -HH:MM")
    if raw not in available_names():
        raise ZoneError("time_zone_unknown", f"there is no time zone named {raw}")
    return _named(raw)


@dataclass(frozen=True, slots=True)
class ServedZones:
    """Which zones are served: globs over canonical names, such as `Europe/*` or `+0?:00`."""

    globs: tuple[str, ...]

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read a comma-separated list.

        Raises:
            ValueError: the list is empty, so nobody would be served.
        """
        globs = tuple(part.strip() for part in raw.split(",") if part.strip())
        if not globs:
            raise ValueError('must name at least one time zone, e.g. "*" or "Europe/*,UTC"')
        return cls(globs)

    def serves(self, name: str) -> bool:
        """Say whether the zone with this canonical name is served."""
        return any(fnmatchcase(name, glob) for glob in self.globs)

    def __str__(self) -> str:
        return ",".join(self.globs)


@cache
def available_names() -> frozenset[str]:
    """Return every zone name that `tzdata` has."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@cache
def _named(name: str) -> TimeZone:
    *folders, file = name.split("/")
    with resources.files(".".join(("tzdata", "zoneinfo", *folders))).joinpath(file).open("rb") as data:
        return TimeZone(name, ZoneInfo.from_file(data, key=name))


def _fixed(sign: str, hours: str, minutes: str) -> TimeZone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or offset > MAX_OFFSET:  # noqa: PLR2004 - minutes of an hour
        raise ZoneError("time_zone_malformed", "an offset from UTC is at most 14:00 either way")
    negative = sign == "-" and offset
    name = f"{'-' if negative else '+'}{hours}:{minutes}"
    return TimeZone(name, timezone(-offset if negative else offset, name))
