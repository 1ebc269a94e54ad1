"""The time zone of this machine, by a name that the server understands, and how sure that is."""

import io
import os
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import tzlocal

FIXED_RULE: Final = re.compile(r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)([+-]?\d{1,2})(?::(\d{2}))?(?::\d{2})?")
COMPARED_DAYS: Final = 730
DAY_HOURS: Final = 24
HOW_TO_SET: Final = "say --time-zone or CHAT_TIME_ZONE, such as Europe/Berlin or +07:00"


@dataclass(frozen=True, slots=True)
class LocalZone:
    """The zone of this machine.

    Attributes:
        name: as the server takes it: Europe/Berlin, or +07:00.
        note: how it was found, when it is a guess or not what the machine says word for word; empty otherwise.
    """

    name: str
    note: str = ""


def local_zone(environ: Mapping[str, str] = os.environ, localtime: Path = Path("/etc/localtime")) -> LocalZone:
    """Find the zone of this machine: in TZ, else where the system keeps it, else by the offset of its clock.

    TZ may hold a name in any capitals, or a rule of POSIX such as CET-1CEST,M3.5.0,M10.5.0/3.
    """
    given = environ.get("TZ", "").strip().removeprefix(":").strip()
    if given and not given.startswith("/"):
        return _from_variable(given)
    try:
        name = tzlocal.get_localzone_name()
    except Exception:  # noqa: BLE001 - whatever is odd about the machine, its clock has an offset
        name = None
    if name and (given or name != "UTC" or localtime.exists() or sys.platform == "win32"):
        return LocalZone(name)
    return _by_clock("this machine names no time zone")


def _from_variable(given: str) -> LocalZone:
    by_lower_case = {name.lower(): name for name in available_timezones()}
    if given.lower() in by_lower_case:
        name = by_lower_case[given.lower()]
        return LocalZone(name, "" if name == given else f"TZ={given} is taken for {name}")
    fixed = FIXED_RULE.fullmatch(given)
    if fixed and int(fixed[1].lstrip("+-")) < DAY_HOURS:
        name = _offset_name(-_signed(fixed[1], fixed[2]))  # POSIX counts west of Greenwich
        return LocalZone(name, f"TZ={given} is taken for {name}")
    rule = _posix_rule(given)
    same = None if rule is None else _zone_with_the_rules_of(rule)
    if same is not None:
        return LocalZone(same, f"TZ={given} has the rules of {same}, which is sent")
    return _by_clock(f"TZ={given} is no time zone that is known")


def _by_clock(why: str) -> LocalZone:
    try:
        offset = datetime.now().astimezone().utcoffset() or timedelta()
    except ValueError:  # a day or more
        return LocalZone("UTC", f"{why}, and neither is the offset of its clock; UTC is assumed: {HOW_TO_SET}")
    name = _offset_name(round(offset.total_seconds() / 60))
    return LocalZone(name, f"{why}; the offset of its clock, {name}, is assumed: {HOW_TO_SET}")


def _signed(hours: str, minutes: str | None) -> int:
    size = abs(int(hours)) * 60 + int(minutes or 0)
    return -size if hours.startswith("-") else size


def _offset_name(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _posix_rule(text: str) -> tzinfo | None:
    """Return the zone that a rule of POSIX describes. The footer of a TZif file is such a rule (RFC 9636, 3.3)."""
    head = b"TZif2" + bytes(15)
    block = head + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"
    try:
        return ZoneInfo.from_file(io.BytesIO(block + block + b"\n" + text.encode("ascii") + b"\n"))
    except (ValueError, struct.error, UnicodeError):
        return None


def _zone_with_the_rules_of(rule: tzinfo) -> str | None:
    """Return the first zone with the same abbreviations and offsets on each day of two years."""
    began = datetime(datetime.now(UTC).year, 1, 1, 12, tzinfo=UTC)
    days = [began + timedelta(days=day) for day in range(COMPARED_DAYS)]
    try:
        wanted = [_at(rule, day) for day in days]
    except ValueError:  # an offset of a day
        return None
    for name in sorted(available_timezones(), key=lambda name: ("/" not in name, not name.startswith("Europe/"), name)):
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
        if all(_at(zone, day) == there for day, there in zip(days, wanted, strict=True)):
            return name
    return None


def _at(zone: tzinfo, moment: datetime) -> tuple[timedelta | None, str | None]:
    there = moment.astimezone(zone)
    return there.utcoffset(), there.tzname()
