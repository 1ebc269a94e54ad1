import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from chat_client.cli.clock import local, now
from chat_client.zone import local_zone


@pytest.mark.parametrize(
    ("given", "name", "note"),
    [
        ("Europe/Berlin", "Europe/Berlin", ""),
        (":America/New_York", "America/New_York", ""),
        ("EST5EDT", "EST5EDT", ""),
        ("europe/berlin", "Europe/Berlin", "is taken for Europe/Berlin"),
        ("ASIA/CALCUTTA", "Asia/Calcutta", "is taken for Asia/Calcutta"),
        ("<+07>-7", "+07:00", "is taken for +07:00"),
        ("IST-5:30", "+05:30", "is taken for +05:30"),
        ("BRT3", "-03:00", "is taken for -03:00"),
    ],
)
def test_tz_holds_a_name_or_a_fixed_rule(given: str, name: str, note: str) -> None:
    found = local_zone({"TZ": given})
    assert found.name == name
    assert note in found.note
    assert bool(note) == bool(found.note)


@pytest.mark.parametrize(
    ("rule", "like"),
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"),
        ("EST5EDT,M3.2.0,M11.1.0", "America/New_York"),
        ("NZST-12NZDT,M9.5.0,M4.1.0/3", "Pacific/Auckland"),
    ],
)
def test_tz_holds_a_rule_of_posix(rule: str, like: str) -> None:
    found = local_zone({"TZ": rule})
    assert "has the rules of" in found.note
    for month in range(1, 13):
        noon = datetime(2026, month, 15, 12, tzinfo=UTC)
        assert noon.astimezone(ZoneInfo(found.name)).utcoffset() == noon.astimezone(ZoneInfo(like)).utcoffset()


@pytest.mark.parametrize("given", ["nonsense", "Nowhere/City", "XYZ3ABC,M3.2.0,M11.1.0", "UTC99", "CET-1CEST,M99.9.9"])
def test_a_zone_that_is_not_known_is_never_utc_in_silence(given: str) -> None:
    found = local_zone({"TZ": given})
    offset = datetime.now().astimezone().strftime("%z")
    assert found.name == f"{offset[:3]}:{offset[3:]}"
    assert given in found.note
    assert "--time-zone" in found.note


def test_a_machine_that_names_no_zone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "UTC")
    found = local_zone({}, tmp_path / "localtime")
    assert "is assumed" in found.note
    (tmp_path / "localtime").touch()
    assert local_zone({}, tmp_path / "localtime").note == ""


@pytest.mark.parametrize("given", ["UTC+25", "UTC+24", "XYZ-167:59"])
def test_an_offset_of_a_day_or_more_ends_nothing(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", given)
    time.tzset()
    try:
        found = local_zone()
        moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
        assert local(moment) == moment
        assert now().tzinfo is not None
    finally:
        monkeypatch.undo()
        time.tzset()
    assert given in found.note
    assert "--time-zone" in found.note
