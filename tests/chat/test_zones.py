import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from chat_service.zones import ServedZones, ZoneError, available_names, parse_time_zone

SUMMER = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
WINTER = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def offset(name: str, moment: datetime = SUMMER) -> timedelta | None:
    return moment.astimezone(parse_time_zone(name).tzinfo).utcoffset()


def test_a_name_keeps_its_summer_time() -> None:
    zone = parse_time_zone("Europe/Berlin")
    assert zone.name == "Europe/Berlin"
    assert isinstance(zone.tzinfo, ZoneInfo)
    assert zone.tzinfo.key == "Europe/Berlin"
    assert str(zone.tzinfo) == "Europe/Berlin"
    assert offset("Europe/Berlin", SUMMER) == timedelta(hours=2)
    assert offset("Europe/Berlin", WINTER) == timedelta(hours=1)


def test_every_name_of_the_database_is_served() -> None:
    assert len(available_names()) > 500
    for name in available_names():
        assert parse_time_zone(name).name == name


@pytest.mark.parametrize(
    ("raw", "name", "seconds"),
    [
        ("+07:00", "+07:00", 7 * 3600),
        (" 07:00", "+07:00", 7 * 3600),  # what a query string makes of it
        ("-03:30", "-03:30", -12_600),
        ("+14:00", "+14:00", 14 * 3600),
        ("-14:00", "-14:00", -14 * 3600),
        ("+00:00", "+00:00", 0),
        ("-00:00", "+00:00", 0),
        ("-00:30", "-00:30", -1800),
    ],
)
def test_fixed_offsets(raw: str, name: str, seconds: int) -> None:
    zone = parse_time_zone(raw)
    assert zone.name == name
    assert str(zone.tzinfo) == name
    assert offset(raw) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "localtime",
            "posixrules",
            "europe/berlin",
            "EUROPE/BERLIN",
            "Europe",
            "Europe/",
            "/Europe/Berlin",
            ".",
            "..",
        ),
        *(
            "Europe/../Europe/Berlin",
            "../zoneinfo/UTC",
            "/etc/localtime",
            "Mars/Olympus",
            "tzdata.zi",
            "zones",
            "leapseconds",
        ),
        *("right/UTC", "posix/UTC", "__init__.py", "Europe/__init__.py", "UTC ", "UTC,GMT"),
    ],
)
def test_unknown_names_are_refused(raw: str) -> None:
    with pytest.raises(ZoneError) as refused:
        parse_time_zone(raw)
    assert refused.value.code == "time_zone_unknown"


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "+7",
            "+7:00",
            "+07",
            "+0700",
            "07:00",
            "+07:60",
            "+14:01",
            "-14:30",
            "+99:99",
            " ",
            "  07:00",
            "+07:00 ",
        ),
        *("+\u0660\u0667:\u0660\u0660", "Europe/Berlin\n", "Europe/Berlin\0", "Zürich", "E" * 65),
    ],
)
def test_what_is_no_name_and_no_offset_is_refused(raw: str) -> None:
    with pytest.raises(ZoneError) as refused:
        parse_time_zone(raw)
    assert refused.value.code == "time_zone_malformed"
    assert "\n" not in str(refused.value)


def test_the_files_of_the_machine_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"not a time zone")
    (tmp_path / "Moon").write_bytes(b"TZif2")
    program = (
        "from datetime import datetime, UTC\n"
        "from chat_service.zones import available_names, parse_time_zone\n"
        "zone = parse_time_zone('Europe/Berlin')\n"
        "print(datetime(2026, 7, 1, tzinfo=UTC).astimezone(zone.tzinfo).utcoffset(), 'Moon' in available_names())\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONTZPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split() == ["2:00:00", "False"]


@pytest.mark.parametrize(
    ("globs", "served", "refused"),
    [
        ("*", ["UTC", "Europe/Berlin", "+07:00"], []),
        ("Europe/*,UTC", ["Europe/Berlin", "Europe/London", "UTC"], ["America/New_York", "+01:00"]),
        ("+0?:00", ["+07:00", "+00:00"], ["-07:00", "+10:00", "+07:30", "UTC"]),
        (" America/* , -* ", ["America/Argentina/Salta", "-03:00"], ["+03:00"]),
        ("europe/*", [], ["Europe/Berlin"]),
        ("Asia/Kolkata", ["Asia/Kolkata", "Asia/Calcutta"], ["Asia/Tokyo", "+05:30"]),
        ("Asia/Calcutta", ["Asia/Kolkata", "Asia/Calcutta"], ["Asia/Tokyo"]),
        ("US/Pacific", ["America/Los_Angeles", "US/Pacific"], ["America/Denver", "Etc/GMT+8"]),
        ("Europe/*", ["GB", "Turkey", "Asia/Istanbul"], ["US/Pacific", "Asia/Calcutta"]),
        ("America/*", ["US/Pacific", "Canada/Atlantic"], ["US/Hawaii"]),
        ("Asia/K*", ["Asia/Calcutta", "Asia/Katmandu"], ["Asia/Tokyo"]),
        ("US/*", ["America/Los_Angeles", "US/Hawaii", "Pacific/Honolulu"], ["America/Halifax"]),
        ("Asia/Cal*", ["Asia/Kolkata"], ["Asia/Kathmandu"]),
        ("Atlantic/*", ["Atlantic/Reykjavik", "Atlantic/Jan_Mayen"], ["Europe/Berlin", "Africa/Abidjan"]),
        ("UTC", ["Etc/UTC", "Zulu"], ["Etc/GMT+0", "+00:00"]),
        ("Etc/GMT+3", ["Etc/GMT+3"], ["Etc/GMT-3", "-03:00"]),
        ("Etc/GMT 3", ["Etc/GMT+3"], ["Etc/GMT-3"]),
        ("-00:00", ["+00:00"], ["UTC"]),
    ],
)
def test_served_zones(globs: str, served: list[str], refused: list[str]) -> None:
    zones = ServedZones.parse(globs)
    assert [name for name in served + refused if zones.serves(name)] == served


@pytest.mark.parametrize("raw", ["", " ", ",", " , "])
def test_serving_nobody_is_a_mistake(raw: str) -> None:
    with pytest.raises(ValueError, match="at least one"):
        ServedZones.parse(raw)


@pytest.mark.parametrize("raw", ["Asia/Kolkatta", "Europe/*,Moon", "europe/berlin", "+7:00"])
def test_serving_a_zone_that_there_is_not_is_a_mistake(raw: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(raw.rsplit(',', maxsplit=1)[-1])}: "):
        ServedZones.parse(raw)


@pytest.mark.parametrize(("raw", "name"), [("Etc/GMT 3", "Etc/GMT+3"), ("GMT 0", "GMT+0"), ("Etc/GMT 0", "Etc/GMT+0")])
def test_a_space_inside_a_name_was_a_plus(raw: str, name: str) -> None:
    assert parse_time_zone(raw).name == name


@pytest.mark.parametrize("raw", ["Etc/GMT 99", "Europe Berlin", "America/New York"])
def test_a_name_with_a_space_is_unknown_as_it_was_written(raw: str) -> None:
    with pytest.raises(ZoneError, match=f"there is no time zone named {raw}") as refused:
        parse_time_zone(raw)
    assert refused.value.code == "time_zone_unknown"


def test_served_zones_read_as_they_are_written() -> None:
    assert str(ServedZones.parse("Europe/* , UTC")) == "Europe/*,UTC"
