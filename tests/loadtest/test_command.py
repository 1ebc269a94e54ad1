"""The command line: what it refuses, in one line each."""

import subprocess
import sys
from pathlib import Path

import pytest

from devtools.servers import ROOT
from loadtest.__main__ import main


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["limits", "--seconds", "5"], "--seconds is for soak"),
        (["limits", "--chat", "ws://x"], "--chat needs --history and --redis"),
        (["limits", "--chaos", "--chat", "ws://x"], "leave out --chat"),
        (["limits", "--chat", "ws://x", "--history", "http://x", "--redis", "redis://x", "--metrics", "x"], "NAME=URL"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    line: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("line", [["nonsense"], ["limits", "--connections", "0"], ["limits", "--typing", "soon"]])
def test_a_bad_option_is_refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(line)
    assert refused.value.code == 2
    assert "usage: loadtest" in capsys.readouterr().err


def test_a_folder_is_used_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.jsonl").touch()
    assert main(["limits", "--folder", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["nothing", "nowhere"])
def test_a_report_needs_a_run(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nothing").mkdir()
    assert main(["report", "--folder", str(tmp_path / where)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_report_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert "--folder" in capsys.readouterr().err


def test_locust_by_itself_knows_the_users_and_a_shape() -> None:
    files = "loadtest/locustfile.py,loadtest/shapes/limits.py"
    listed = subprocess.run(
        [sys.executable, "-m", "locust", "-f", files, "--list"], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert {"Chatter", "Reporter", "Rusher", "Wanderer"} <= set((listed.stdout + listed.stderr).split())


def test_who_lingers_goes_when_told_to() -> None:
    program = "from loadtest.waiting import wait_for_fetch; wait_for_fetch(600, 'to be told to go'); print('gone')"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as staying:
        assert staying.stdout is not None
        assert staying.stdout.readline() == "staying for 600 s, to be told to go\n"
        staying.terminate()
        assert staying.communicate(timeout=60)[0] == "gone\n"
    assert staying.returncode == 0


def test_a_swarm_that_only_visits_needs_no_servers_of_ours() -> None:
    program = (
        "import sys, loadtest.__main__\n"
        "ours = {'tests', 'chat_service', 'history_service', 'standalone'}\n"
        "print(sorted(ours & {name.split('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "[]"
