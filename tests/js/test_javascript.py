"""The JavaScript modules, run by Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE = shutil.which("node")


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_javascript(file: Path) -> None:
    if NODE is None:
        pytest.skip("JAVASCRIPT IS NOT TESTED: there is no node on this machine (Debian: apt-get install nodejs)")
    done = subprocess.run([NODE, "--test", str(file)], check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout
