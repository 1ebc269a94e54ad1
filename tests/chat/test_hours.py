from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chat_service.hours import OpeningHours
from chat_service.zones import parse_time_zone


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-01T{clock}+00:00")


@pytest.mark.parametrize(
    ("raw", "clock", "is_open"),
    [
        ("09:00-17:00", "08:59:59", False),
        ("09:00-17:00", "09:00", True),
        ("09:00-17:00", "16:59:59", True),
        ("09:00-17:00", "17:00", False),
        ("9:00-17:00", "09:00", True),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("18:00-24:00", "23:59", True),
        ("18:00-24:00", "00:00", False),
        ("18:00-00:00", "23:59", True),
        ("18:00-00:00", "00:00", False),
        ("08:00-12:00, 13:00-17:00", "11:59", True),
        ("08:00-12:00, 13:00-17:00", "12:30", False),
        ("08:00-12:00, 13:00-17:00", "13:00", True),
        ("00:00-24:00", "00:00", True),
        ("", "03:00", True),
        ("all day", "03:00", True),
        (" All Day ", "03:00", True),
    ],
)
def test_open_at(raw: str, clock: str, is_open: bool) -> None:
    assert OpeningHours.parse(raw).open_at(at(clock)) is is_open


@pytest.mark.parametrize(
    "raw",
    [
        *("09:00", "09:00-", "9-17", "nine to five", "09:00-17:00,", "09:60-10:00", "24:01-25:00", "24:00-06:00"),
        *(
            "09:00-09:00",
            "-09:00-17:00",
            "09:00-17:00 Europe/Berlin",
            "\u0660\u0669:\u0660\u0660-\u0661\u0667:\u0660\u0660",
        ),
    ],
)
def test_what_is_not_hours_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        OpeningHours.parse(raw)


def test_hours_describe_themselves_as_they_are_written() -> None:
    assert OpeningHours.parse("9:00-12:00,13:00-17:00").describe() == "09:00-12:00, 13:00-17:00"
    assert OpeningHours.parse("").describe() == "all day"
    assert str(OpeningHours.parse("22:00-6:00")) == "22:00-06:00"


def minutes_of_local_day(zone: str, day: str) -> Iterator[datetime]:
    """Every minute of a calendar day there, as it really passes."""
    tzinfo = parse_time_zone(zone).tzinfo
    moment = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=tzinfo).astimezone(UTC)
    while (local := moment.astimezone(tzinfo)).date().isoformat() == day:
        yield local
        moment += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("zone", "day", "raw", "open_minutes"),
    [
        ("Europe/Berlin", "2026-03-29", "02:00-03:00", 0),  # this hour does not exist
        ("Europe/Berlin", "2026-03-29", "01:00-04:00", 120),
        ("Europe/Berlin", "2026-10-25", "02:00-03:00", 120),  # this hour comes twice
        ("Europe/Berlin", "2026-06-01", "02:00-03:00", 60),
        ("America/New_York", "2026-03-08", "02:00-03:00", 0),
        ("America/New_York", "2026-11-01", "01:00-02:00", 120),
        ("America/New_York", "2026-11-01", "", 25 * 60),
        ("Australia/Lord_Howe", "2026-10-04", "02:00-03:00", 30),  # here summer is half an hour away
        ("Australia/Lord_Howe", "2026-04-05", "01:30-02:00", 60),
        ("Australia/Lord_Howe", "2026-04-05", "22:00-06:00", 8 * 60 + 30),
    ],
)
def test_hours_follow_the_local_clock_through_its_changes(zone: str, day: str, raw: str, open_minutes: int) -> None:
    hours = OpeningHours.parse(raw)
    assert sum(hours.open_at(local) for local in minutes_of_local_day(zone, day)) == open_minutes


def test_midnight_is_that_of_the_client() -> None:
    hours = OpeningHours.parse("00:00-01:00")
    moment = datetime(2026, 6, 1, 22, 30, tzinfo=UTC)
    assert hours.open_at(moment.astimezone(parse_time_zone("Europe/Berlin").tzinfo))
    assert not hours.open_at(moment.astimezone(parse_time_zone("Europe/London").tzinfo))
    assert hours.open_at(moment.astimezone(parse_time_zone("+02:00").tzinfo))
