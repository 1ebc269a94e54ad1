"""The benchmark of pods, run small against real stores: it measures all that it says."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from bench.pods import PodFigures

ROOT = Path(__file__).parents[2]
SMALL = ("--connections", "20", "--talkers", "2", "--texts", "200", "--voices", "2")
CPU = {"echo_us", "text_us", "text_history_us", "voice_us", "voice_workers_us"}


def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "bench.pods", *SMALL, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert set(found) == {field.name for field in fields(PodFigures)}
    assert found["chat_rest_mib"] > 10
    assert all(found[name] >= 0 for name in CPU)
    assert found["voice_workers_us"] > found["text_us"]
    assert all(line in done.stdout for line in ("memory of an idle connection", "text: chat", "voice: media workers"))
