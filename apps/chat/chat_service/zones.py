"""Time zones as clients name them: an IANA name or a fixed offset, the same on every machine.

Names are looked up in the `tzdata` package only. The files of the operating system may be missing in an image, differ
between machines, and hold names such as `localtime` that mean the server's own zone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Final, Self
from zoneinfo import ZoneInfo

from frameproto.denials import DenialCode

OFFSET: Final = re.compile(r"([+\- ])(\d{2}):(\d{2})")
MAX_OFFSET: Final = timedelta(hours=14)
LONGEST_NAME: Final = 64
WILD: Final = "*?["  # what makes a glob of a name


class ZoneError(ValueError):
    """This is not a time zone: `TIME_ZONE_MALFORMED` or `TIME_ZONE_UNKNOWN`."""

    def __init__(self, code: DenialCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TimeZone:
    """A time zone and its canonical name."""

    name: str
    tzinfo: tzinfo


def parse_time_zone(raw: str) -> TimeZone:
    """Return the zone with this name, or with this fixed offset from UTC.

    A query string turns the plus signs of `+07:00` and `Etc/GMT+3` into spaces. No zone's name has a space, so a space
    means plus.

    Raises:
        ZoneError: it is neither.
    """
    if not raw or len(raw) > LONGEST_NAME or not raw.isascii() or not raw.isprintable():
        raise ZoneError(DenialCode.TIME_ZONE_MALFORMED, DenialCode.TIME_ZONE_MALFORMED.meaning)
    offset = OFFSET.fullmatch(raw)
    if offset is not None:
        return _fixed(*offset.groups())
    if raw[0] in "+- " or raw[0].isdigit():
        raise ZoneError(DenialCode.TIME_ZONE_MALFORMED, "an offset from UTC is written +HH:MM or -HH:MM")
    name = raw.replace(" ", "+")
    if name not in available_names():
        raise ZoneError(DenialCode.TIME_ZONE_UNKNOWN, f"there is no time zone named {raw}")
    return _named(name)


@dataclass(frozen=True, slots=True)
class ServedZones:
    """Which zones are served: globs over names, such as `Europe/*` or `+0?:00`.

    A zone has many names (`Asia/Calcutta` is a link to `Asia/Kolkata`), and is served under each of them. A glob that
    matches nothing but links, such as `US/*`, stands for the zones they lead to.
    """

    globs: tuple[str, ...]

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read a comma-separated list.

        Raises:
            ValueError: the list is empty, so nobody would be served, or it names a zone that there is not.
        """
        globs = tuple(part.strip() for part in raw.split(",") if part.strip())
        if not globs:
            raise ValueError('must name at least one time zone, e.g. "*" or "Europe/*,UTC"')
        return cls(tuple(map(_glob, globs)))

    def serves(self, name: str) -> bool:
        """Say whether the zone with this name is served."""
        return any(fnmatchcase(name, glob) for glob in self.globs) or canonical(name) in _zones(self.globs)

    def __str__(self) -> str:
        return ",".join(self.globs)


def _glob(raw: str) -> str:
    """Return a glob as it is, and a zone by the name that its clients get: `-00:00` is `+00:00`."""
    if any(sign in raw for sign in WILD):
        return raw
    try:
        return parse_time_zone(raw).name
    except ZoneError as exc:
        raise ValueError(f"{raw}: {exc}") from exc


@cache
def available_names() -> frozenset[str]:
    """Return every zone name that `tzdata` has."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


def canonical(name: str) -> str:
    """Return the name of the zone that a name is a link to, or the name itself."""
    return _links().get(name, name)


@cache
def _links() -> Mapping[str, str]:
    """Return every link of `tzdata` with the zone at its end, from its `L` lines (see zic(8))."""
    source = resources.files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text("utf-8")
    links = {link: target for _, target, link in (line.split() for line in source.splitlines() if line[:2] == "L ")}
    return {link: links.get(target, target) for link, target in links.items()}


@cache
def _zones(globs: tuple[str, ...]) -> frozenset[str]:
    """Return the canonical names of the zones that globs stand for."""
    zones: set[str] = set()
    for glob in globs:
        names = {name for name in available_names() if fnmatchcase(name, glob)}
        zones |= (names - _links().keys()) or {canonical(name) for name in names}
    return frozenset(zones)


@cache
def _named(name: str) -> TimeZone:
    *folders, file = name.split("/")
    with resources.files(".".join(("tzdata", "zoneinfo", *folders))).joinpath(file).open("rb") as data:
        return TimeZone(name, ZoneInfo.from_file(data, key=name))


def _fixed(sign: str, hours: str, minutes: str) -> TimeZone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if int(minutes) > 59 or offset > MAX_OFFSET:  # noqa: PLR2004 - minutes of an hour
        raise ZoneError(DenialCode.TIME_ZONE_MALFORMED, "an offset from UTC is at most 14:00 either way")
    negative = sign == "-" and offset
    name = f"{'-' if negative else '+'}{hours}:{minutes}"
    return TimeZone(name, timezone(-offset if negative else offset, name))
