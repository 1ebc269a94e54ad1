"""The benchmark of media, run small: it measures all that it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(960)
def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "bench.media", "--shortest", "--phrases", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert len(found["stages"]) == 7
    assert all(at["seconds"] > 0 for at in found["stages"].values())
    assert found["rates"].keys() == {"voice", "video"}
    assert found["loop_lag_p99_ms"] > 0
    assert 0 <= found["word_error_rate"]["all"] <= 1
    assert "bare Whisper" in done.stdout
