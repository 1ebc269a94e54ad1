"""The benchmark of exchanges, run as short as it can be against real servers: it measures all that it says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.exchanges.contenders import ALL, FLOOR, NODE, OURS, WS_BARE, WS_USUAL, missing
from bench.exchanges.ours import WORKERS
from bench.exchanges.report import CPU, ExchangeReport, ReportRow
from bench.exchanges.terms import SHORTEST
from bench.samples import Sample
from devtools.servers import ROOT

NEEDS_NODE = {WS_BARE, WS_USUAL}


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.exchange", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.parametrize("wrong", [["--repeats", "0"], ["--part", "permits"], ["--only", "apache"]])
def test_a_wrong_argument_is_told(wrong: list[str]) -> None:
    ended = run(*wrong)
    assert ended.returncode == 2
    assert f"argument {wrong[0]}" in ended.stderr


@pytest.mark.timeout(960)
def test_the_shortest_run_measures_texts_of_everybody(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    ended = run("--shortest", "--part", "text", "--part", "window", "--part", "offered", "--json", str(file))
    assert ended.returncode == 0, ended.stderr
    found = json.loads(file.read_text())
    present = [name for name in ALL if name not in found["missing"]]
    for part in ("text", "window", "offered"):
        rows = {row["contender"]: row for row in found["rows"] if row["part"] == part}
        assert list(rows) == present
        assert rows[FLOOR]["cpu_ratio_to_floor"] == 1
        assert all(row["figures"][CPU]["median"] > 0 for row in rows.values())
        assert "loop lag p99 µs" in rows[OURS]["figures"]
        assert all(("sent late p99 µs" in row["figures"]) == (part == "offered") for row in rows.values())
    for name in found["missing"]:
        assert f"NOT MEASURED {name}" in ended.stderr


@pytest.mark.timeout(960)
def test_the_shortest_run_measures_large_messages_idle_connections_voice_and_fsync(tmp_path: Path) -> None:
    file, plot = tmp_path / "found.json", tmp_path / "found.svg"
    parts = [word for part in ("bodies", "idle", "voice", "fsync") for word in ("--part", part)]
    ended = run("--shortest", *parts, "--only", "floor", "--only", "ours", "--json", str(file), "--plot", str(plot))
    assert ended.returncode == 0, ended.stderr
    rows = {
        (row["part"], row["case"].split(" over")[0], row["contender"]): row
        for row in json.loads(file.read_text())["rows"]
    }
    assert [name for part, case, name in rows if case in {"100 KB", "2 MB"}] == [FLOOR, OURS] * 2
    measured = {part: row["figures"] for (part, _, _), row in rows.items()}
    (voice,) = [row["figures"] for row in rows.values() if WORKERS in row["figures"]]
    assert measured["idle"]["KiB each"]["median"] > 0
    assert voice[WORKERS]["median"] > voice[CPU]["median"] > 0
    assert measured["fsync"]["of never's rate"]["median"] > 0
    assert ET.parse(plot).getroot().tag.endswith("svg")


@pytest.mark.timeout(960)
def test_the_shortest_run_measures_both_versions_of_the_protocol_and_pieces(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    ended = run("--shortest", "--part", "v2", "--part", "pieces", "--only", "ours", "--json", str(file))
    assert ended.returncode == 0, ended.stderr
    rows = {(row["part"], row["contender"]): row["figures"] for row in json.loads(file.read_text())["rows"]}
    assert list(rows) == [(part, f"{OURS}, {name}") for part in ("v2", "pieces") for name in ("v1", "v2")]
    assert all(rows[part, f"{OURS}, v2"]["of v1's CPU"]["median"] > 0 for part in ("v2", "pieces"))
    assert rows["pieces", f"{OURS}, v2"]["CPU µs a piece"]["median"] > 0


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_with_node_nobody_is_missing_once_its_packages_are_there() -> None:
    assert set(missing()) == (set() if (NODE / "node_modules").is_dir() else NEEDS_NODE)


def test_the_lock_of_npm_holds_hashes_and_no_addresses() -> None:
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"]
    assert all(package["integrity"] for name, package in packages.items() if name)
    assert not any("resolved" in package for package in packages.values())


def test_ratios_are_to_peers_of_the_same_part_and_case() -> None:
    def row(part: str, contender: str, cpu: float) -> ReportRow:
        return ReportRow(part, "", contender, {CPU: Sample((cpu,))})

    rows = [row("text", FLOOR, 10), row("text", OURS, 40), row("text", WS_USUAL, 80), row("window", OURS, 30)]
    report = ExchangeReport(store="", busy=0, terms=SHORTEST, missing={}, rows=rows)
    assert [report.ratio(row) for row in rows] == [1, 4, 8, None]
    assert report.ratio(rows[1], WS_USUAL) == 0.5
