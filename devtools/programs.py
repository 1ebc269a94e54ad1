"""Programs that end by themselves: what they print, and their exit code."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def settings_of(variables: Mapping[str, object]) -> dict[str, str]:
    """Return an environment with these variables and no other settings of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "HISTORY_"))}
    return {**clean, "NO_COLOR": "1", **{name: str(value) for name, value in variables.items()}}


def run_to_its_end(module: str, folder: Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in a folder, and wait until it ends."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=settings_of(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
