"""Frames need nothing but the standard library; only the exchange record needs MessagePack."""

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import frameproto

PACKAGE = Path(frameproto.__file__).parent
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(PACKAGE)]) if module.name != "exchange")

# -I -S leaves no site-packages and no environment: whatever is imported is frameproto or comes with Python.
BARE = """
import importlib, sys
sys.path.insert(0, {folder!r})
{body}
"""


def run_bare(body: str) -> "subprocess.CompletedProcess[str]":
    script = BARE.format(folder=str(PACKAGE.parent), body=body)
    return subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("module", ["frameproto", *(f"frameproto.{name}" for name in MODULES)])
def test_imports_without_anything_installed(module: str) -> None:
    done = run_bare(
        f"importlib.import_module({module!r})\n"
        "ours = sys.stdlib_module_names | {'__main__', 'frameproto'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - ours))"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_frames_can_be_read_and_written_without_anything_installed() -> None:
    done = run_bare(
        "from frameproto import *\n"
        "print(decode_request(encode_request(Request(RequestKind.TEXT, b'Hello'))).text)\n"
        "print(decode_response(encode_response(error_response('busy', 'later'))).error_code)"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["Hello", "busy"]), done.stderr


def test_the_exchange_record_asks_for_messagepack() -> None:
    done = run_bare("import frameproto.exchange")
    assert done.returncode != 0
    assert "No module named 'msgpack'" in done.stderr


def test_the_package_declares_just_that() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == []
    assert [dependency.partition(">")[0] for dependency in project["optional-dependencies"]["exchange"]] == ["msgpack"]
