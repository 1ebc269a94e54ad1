"""The benchmark of the outbox, run as short as it can be."""

import json
from pathlib import Path

import pytest

from bench.outbox import main


def test_it_measures_the_log_and_a_file_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    options = ["--repeats", "1", "--exchanges", "60", "--folder", str(tmp_path), "--json", str(file)]
    assert main(options) == 0
    found = json.loads(file.read_text())
    assert list(found) == [
        "log, 1 in a turn",
        "log, 10 in a turn",
        "log, 50 in a turn",
        "log, 50 in a turn, fsync",
        "a file each",
        "a file each, fsync",
    ]
    assert all(row[what]["median"] > 0 for row in found.values() for what in ("keep_us", "deliver_us", "per_second"))
    assert "kept a second" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]
