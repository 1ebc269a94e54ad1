"""The benchmark of permits, run small against a real Valkey: it says all that it promises, whoever takes part."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.permits.against import Comparison

ROOT = Path(__file__).parents[2]
SMALL = ("--quick", "--repeats", "3", "--seconds", "0.02", "--tasks", "1,4", "--handoffs", "3")
PAIRS = {"redis-benchmark", "redis-benchmark -P", "redis-py, bare Lua"}
FLOORS = {"two PINGs, plain socket", "two PINGs, redis-py"}
LIBRARIES = {"py-redis-semaphore", "self-limiters"}
OURS = "permits (ours)"

Rows = list[dict[str, Any]]


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.permits", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Return what one small run wrote and what it printed."""
    file = tmp_path_factory.mktemp("bench") / "found.json"
    done = bench(*SMALL, "--json", str(file))
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text(encoding="utf-8")), done.stdout


@pytest.fixture(scope="module")
def found(run: tuple[dict[str, Any], str]) -> dict[str, Any]:
    return run[0]


def present(found: dict[str, Any], names: set[str]) -> set[str]:
    return names - set(found["missing"])


def assert_samples(rows: Rows, names: set[str], *, repeats: int) -> None:
    for row in rows:
        for name in names:
            sample = row[name]
            assert len(sample["values"]) == repeats
            assert sample["low"] <= sample["median"] <= sample["high"]


def test_says_on_what_it_ran(found: dict[str, Any]) -> None:
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["server"].split()[0] in {"redis", "valkey"}
    assert found["terms"] == {"repeats": 3, "seconds": 0.02, "tasks": [1, 4], "handoffs": 3}


def test_pairs_of_every_contender_at_every_number_of_tasks(found: dict[str, Any]) -> None:
    rows: Rows = found["pairs"]
    expected = present(found, PAIRS | LIBRARIES | {OURS})
    assert sorted((row["contender"], row["tasks"]) for row in rows) == sorted(
        (name, tasks) for name in expected for tasks in (1, 4)
    )
    assert_samples(rows, {"per_second", "client_us", "server_us"}, repeats=3)
    assert {row["ratio_to_redis_py"] for row in rows if row["contender"] == "redis-py, bare Lua"} == {1.0}


def test_contended_with_the_ideal_of_one_process(found: dict[str, Any]) -> None:
    rows: Rows = found["contended"]
    assert {row["contender"] for row in rows} == present(found, {OURS, "asyncio.Semaphore"} | LIBRARIES)
    assert_samples(rows, {"per_second", "client_us", "overtaking", "longest_wait_ms"}, repeats=3)
    assert all(0 <= value <= 1 for row in rows for value in row["overtaking"]["values"])
    [ideal] = [row for row in rows if row["contender"] == "asyncio.Semaphore"]
    assert (ideal["ratio_to_asyncio"], ideal["overtaking"]["high"]) == (1.0, 0.0)


def test_nobody_overtakes_in_our_line(found: dict[str, Any]) -> None:
    [ours] = [row for row in found["contended"] if row["contender"] == OURS]
    assert ours["overtaking"]["high"] == 0.0


def test_handoffs_between_processes_and_their_floors(found: dict[str, Any]) -> None:
    rows: Rows = found["handoffs"]
    assert {row["contender"] for row in rows} == present(found, FLOORS | {OURS} | LIBRARIES)
    assert_samples(rows, {"p50_us", "p99_us"}, repeats=3)
    assert {row["ratio_to_two_pings"] for row in rows if row["contender"] == "two PINGs, plain socket"} == {1.0}


def test_prints_every_contender_and_no_colors_into_a_pipe(run: tuple[dict[str, Any], str]) -> None:
    found, printed = run
    assert all(row["contender"] in printed for part in ("pairs", "contended", "handoffs") for row in found[part])
    assert "\x1b" not in printed


@pytest.mark.parametrize("name", sorted(LIBRARIES | {"redis-benchmark"}))
def test_a_peer_takes_part_or_is_said_to_be_missing(run: tuple[dict[str, Any], str], name: str) -> None:
    found, printed = run
    if name in found["missing"]:
        assert f"NOT MEASURED {name}" in printed
        pytest.skip(f"NOT MEASURED: {found['missing'][name]}")
    assert name in {row["contender"] for row in found["pairs"]}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--tasks", "0"], id="no tasks"),
        pytest.param(["--tasks", "1,"], id="half a list"),
        pytest.param(["--seconds", "-1"], id="no time"),
        pytest.param(["--repeats", "0"], id="no repetition"),
        pytest.param(["--part", "everything"], id="an unknown part"),
    ],
)
def test_refuses_what_makes_no_sense(arguments: list[str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_two_versions_are_measured_in_turns(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    done = bench("--against", str(ROOT), *("--rounds", "3", "--seconds", "0.02", "--tasks", "4"), "--json", str(file))
    assert done.returncode == 0, done.stderr
    rows: Rows = json.loads(file.read_text(encoding="utf-8"))
    assert [(row["measure"], row["tasks"]) for row in rows] == [
        ("pairs", 4), ("client CPU of a pair", 4), ("server CPU of a pair", 4), ("hand-off, p50", 0),
    ]  # fmt: skip
    for row in rows:
        assert len(row["here"]) == len(row["there"]) == 3
        assert row["interval"][0] <= row["ratio"] <= row["interval"][1]
    assert "ratio" in done.stdout


def test_what_is_no_other_version_is_refused(tmp_path: Path) -> None:
    done = bench("--against", str(tmp_path))
    assert (done.returncode, "neither" in done.stderr) == (2, True)


def test_a_process_does_not_measure_another_version_than_it_should(tmp_path: Path) -> None:
    package = tmp_path / "permits"
    package.mkdir()
    (package / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "bench.permits.against", "1", "0", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "should have what is in" in done.stderr


@pytest.mark.parametrize(
    ("more_is_better", "here", "there", "ratio", "interval"),
    [
        (True, (2.0,) * 9, (1.0,) * 9, 2, (2, 2)),
        (False, (2.0,) * 9, (1.0,) * 9, 0.5, (0.5, 0.5)),
        (True, tuple(map(float, range(1, 101))), (1.0,) * 100, 50.5, (41, 60)),
        (True, (3.0, 0.0, 5.0), (1.0, 1.0, 0.0), 3, (3, 3)),
    ],
)
def test_a_ratio_above_one_says_that_this_version_is_better(
    more_is_better: bool,
    here: tuple[float, ...],
    there: tuple[float, ...],
    ratio: float,
    interval: tuple[float, float],
) -> None:
    row = Comparison("it", 1, "s", more_is_better, here, there)
    assert row.ratio == ratio
    assert row.interval == interval
