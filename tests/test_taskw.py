"""The script that starts every task: which Python it chooses, and what it says when that one can't be used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose task runner is there already, and prints with which Python it was called."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / ".tools/bin").mkdir(parents=True)
    shutil.copy(ROOT / "taskw", tmp_path)
    shutil.copy(ROOT / "requirements/bootstrap.txt", tmp_path / "requirements")
    shutil.copy(ROOT / "requirements/bootstrap.txt", tmp_path / ".tools")
    write_program(tmp_path / ".tools/bin/task", 'echo "$CHATBOT_PYTHON"')
    return tmp_path


def write_program(file: Path, line: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def taskw(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    usual = {name: value for name, value in os.environ.items() if name not in {"PYTHON", "CHATBOT_VENV"}}
    command = [str(checkout / "taskw"), "types"]
    return subprocess.run(command, env=usual | environment, capture_output=True, text=True, timeout=100, check=False)


def test_the_python_that_is_named_is_used(checkout: Path) -> None:
    run = taskw(checkout, PYTHON=sys.executable)

    assert (run.returncode, run.stdout.strip()) == (0, sys.executable)


def test_an_environment_of_the_same_python_is_used(checkout: Path) -> None:
    write_program(checkout / ".venv/bin/python", f"echo {VERSION}")

    assert taskw(checkout, PYTHON=sys.executable).returncode == 0


def test_an_environment_of_another_python_is_refused(checkout: Path) -> None:
    write_program(checkout / ".venv/bin/python", "echo 3.9")

    run = taskw(checkout, PYTHON=sys.executable)

    assert run.returncode == 1
    assert run.stdout == ""
    assert f"has Python 3.9, but {sys.executable} is {VERSION}" in run.stderr
    assert f"CHATBOT_VENV=.venv-{VERSION} ./taskw types" in run.stderr


def test_an_environment_that_is_broken_is_named(checkout: Path) -> None:
    write_program(checkout / ".venv/bin/python", "exit 1")

    run = taskw(checkout, PYTHON=sys.executable)

    assert (run.returncode, run.stderr) == (1, f"taskw: {checkout}/.venv has no Python that runs; remove it\n")


def test_a_second_environment_stands_beside_the_first(checkout: Path) -> None:
    write_program(checkout / ".venv/bin/python", "echo 3.9")

    assert taskw(checkout, PYTHON=sys.executable, CHATBOT_VENV=".venv-second").returncode == 0


def test_the_environment_decides_while_no_python_is_named(checkout: Path) -> None:
    write_program(checkout / ".venv/bin/python", "echo 3.9")

    assert taskw(checkout).returncode == 0


@pytest.mark.parametrize("python", ["no-such-python", "/bin/false"])
def test_a_python_that_does_not_run_is_named(checkout: Path, python: str) -> None:
    run = taskw(checkout, PYTHON=python)

    assert run.returncode == 1
    assert f"taskw: PYTHON={python} is not a Python 3.11 or newer, or does not run" in run.stderr
