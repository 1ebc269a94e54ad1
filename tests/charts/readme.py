"""The commands of the chart's README that make the Secrets, as they are printed there."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.charts.release import CHATBOT

README: Final = (CHATBOT / "README.md").read_text()
NAMESPACE: Final = "--namespace chatbot"


def secret_commands() -> str:
    """Return all blocks of commands that make Secrets."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return "".join(block for language, block in blocks if not language and "kubectl create secret" in block)


def make_secrets(folder: Path, files: Mapping[str, str], kubectl: str, namespace: str) -> None:
    """Run these commands in a folder.

    Args:
        folder: where the files of the secrets are written.
        files: what the reader writes by hand: the addresses and keys of their stores, by file name.
        kubectl: the program that "kubectl" means, with its arguments.
        namespace: the namespace that the Secrets are made in.
    """
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name, command in {"kubectl": kubectl, "chat-client": f"{sys.executable} -m chat_client"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")  # as every editor does
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "HISTORY_"))}
    done = subprocess.run(
        ["sh", "-eu"],
        input=secret_commands().replace(NAMESPACE, f"--namespace {namespace}"),
        cwd=folder,
        env={**clean, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"the commands of the README fail:\n{done.stdout}{done.stderr}"
