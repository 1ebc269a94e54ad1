"""One table of all benchmarks, run as short as can be."""

import subprocess
import sys

import pytest

from bench.everything import BENCHES, SHORTEST, main
from devtools.servers import ROOT


@pytest.mark.timeout(960)
def test_it_ends_with_one_table_of_what_was_run() -> None:
    names = [word for name in ("script", "pods") for word in ("--only", name)]
    command = [sys.executable, "-m", "bench.everything", "--shortest", *names]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = [line.strip() for line in ended.stdout.splitlines()]
    assert any(line.startswith("script ") and "300 rules, of what 20 cost" in line for line in lines)
    assert any(line.startswith("pods ") and "memory of a chat pod at rest" in line for line in lines)


def test_a_benchmark_that_cannot_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "permits"]) == 1
    assert "NOT MEASURED" in capsys.readouterr().out


def test_every_benchmark_with_a_size_has_a_shortest_form() -> None:
    assert set(SHORTEST) == {name for name, bench in BENCHES.items() if bench.short}
