"""Starts that cannot succeed: one line that says why, and an exit code that says so too."""

from pathlib import Path

import pytest

from devtools.programs import run_to_its_end

ANY_PORTS = {f"{name}_PORT": 0 for name in ("CHAT", "CHAT_METRICS", "HISTORY", "HISTORY_METRICS")}
CANNOT = "a worker for voice and video cannot work: "
# What the workers get in place of the package that brings the speech engine.
NO_DATA = """
def get_data_path(): return "/nowhere/espeak-ng-data"
"""
NO_LIBRARY = """
def get_data_path(): return "/tmp/espeak-ng-data"
def get_library_path(): return "/nowhere/espeak.so"
"""
NO_WORKER = """
raise SystemExit(3)
"""


@pytest.mark.parametrize("module", ["chat_service", "standalone"])
@pytest.mark.parametrize(
    ("speech", "why"),
    [
        pytest.param(NO_DATA, "it does not start: [Errno 2] No such file or directory: '/nowhere'", id="no data"),
        pytest.param(
            NO_LIBRARY,
            "it does not start: /nowhere/espeak.so: cannot open shared object file: No such file or directory",
            id="no library",
        ),
        pytest.param(NO_WORKER, "it ended (exit code 3)", id="no worker"),
    ],
)
def test_without_a_speech_engine_there_is_one_clear_line(tmp_path: Path, module: str, speech: str, why: str) -> None:
    (tmp_path / "espeakng_loader.py").write_text(speech)
    ended = run_to_its_end(module, tmp_path, PYTHONPATH=tmp_path, **ANY_PORTS)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert [line for line in ended.stderr.splitlines() if not line.startswith("{")] == [f"{CANNOT}{why}"]
    assert "Traceback" not in ended.stderr


def test_chat_that_asks_for_tokens_needs_one_for_history(tmp_path: Path) -> None:
    """Else each answer would wait in the outbox for ever."""
    secret = "a secret of at least thirty-two bytes"
    ended = run_to_its_end("chat_service", tmp_path, CHAT_AUTH="jwt", CHAT_TOKEN_SECRETS=secret, **ANY_PORTS)
    assert (ended.returncode, ended.stdout) == (2, "")
    (why, _) = ended.stderr.splitlines()
    assert why.startswith("CHAT_AUTH=jwt needs CHAT_HISTORY_TOKEN")
