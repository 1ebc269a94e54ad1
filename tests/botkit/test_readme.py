"""The README of botkit: its bot converses, and its test passes."""

import subprocess
import sys
from pathlib import Path

from tests.support.pages import python_examples


def test_the_examples_run(tmp_path: Path) -> None:
    bot, test = python_examples("libs/botkit/README.md")
    (tmp_path / "my_bot.py").write_text(bot)
    (tmp_path / "test_my_bot.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
