"""The benchmark of history itself: it runs, and its ratios are to the floors of the same run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.history.ingest import BARE, OURS, IngestFigures
from bench.history.media import Stream
from bench.history.pages import Pages
from bench.history.report import HistoryReport
from bench.history.terms import HistoryTerms
from bench.samples import Sample
from devtools.servers import ROOT

TERMS = HistoryTerms(repeats=1, batches=1, batch=1, few_messages=1000, many_messages=2000, long_messages=2000, pages=1)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench.history", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize("wrong", [["--repeats", "0"], ["--part", "permits"], ["--many-messages", "many"]])
def test_a_wrong_argument_is_told(wrong: list[str]) -> None:
    ended = run(*wrong)
    assert ended.returncode == 2
    assert f"argument {wrong[0]}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.timeout(960)
def test_ingest_and_pages_are_measured_and_told(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    few = ["--repeats", "1", "--batch", "40", "--many-messages", "12000", "--long-messages", "6000"]
    ended = run("--quick", "--part", "ingest", "--part", "pages", *few, "--json", str(file))
    assert ended.returncode == 0, ended.stderr
    assert "A page of 50 messages" in ended.stdout
    assert "filling 10,000 messages" in ended.stderr
    found = json.loads(file.read_text())
    contenders = [(row["contender"], row["writers"]) for row in found["ingest"]]
    assert set(contenders) == {(n, c) for n in (OURS, BARE) for c in (1, 4)}
    assert [row["ratio_to_insert_many"] for row in found["ingest"] if row["contender"] == BARE] == [1, 1]
    sizes = [(row["messages"], row["session_messages"]) for row in found["pages"]]
    assert sizes == [(10_000, 1000), (12_000, 1000), (6000, 6000)]
    assert "from 6 000 messages, 6 000 a session" in ended.stdout
    assert all(row["milliseconds"]["median"] > 0 for row in found["pages"])


def test_ratios_are_to_the_floor_with_as_many_at_once() -> None:
    def took(name: str, writers: int, speed: float) -> IngestFigures:
        return IngestFigures(name, writers, Sample((speed,)))

    rows = [took(OURS, 1, 60), took(BARE, 1, 100), took(OURS, 4, 100), took(BARE, 4, 400)]
    streams = [Stream("ours", 1, Sample((30.0,))), Stream("get_object", 1, Sample((40.0,)))]
    pages = [Pages(10, 5, Sample((2.0,))), Pages(1000, 5, Sample((2.5,)))]
    report = HistoryReport(busy=0, terms=TERMS, ingest=rows, pages=pages, streams=streams)
    assert [report.ingest_ratio(row) for row in rows] == [0.6, 1, 0.25, 1]
    assert [report.pages_ratio(row) for row in pages] == [1, 1.25]
    assert [report.stream_ratio(row) for row in streams] == [0.75, 1]
