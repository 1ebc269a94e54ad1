import subprocess
import sys
from pathlib import Path

BOT = """
from botkit import BotError

def bot(turn, memory):
    if turn.text == "fail":
        raise BotError("not now", retryable=True)
    if turn.text == "crash":
        raise KeyError("lost")
    return f"{turn.text}, {len(memory)} before"
"""


def talk(folder: Path, lines: str, name: str = "my_bot:bot") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from botkit.cli import main; main()", "try", name]
    return subprocess.run(command, input=lines, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_bot_in_the_current_folder_is_talked_to(tmp_path: Path) -> None:
    (tmp_path / "my_bot.py").write_text(BOT)
    done = talk(tmp_path, "hello\n\nagain\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello, 0 before\nagain, 2 before\n", "")


def test_failures_are_told_and_the_talk_goes_on(tmp_path: Path) -> None:
    (tmp_path / "my_bot.py").write_text(BOT)
    done = talk(tmp_path, "fail\ncrash\nhello\n")
    assert done.returncode == 1
    assert "bot_failed: not now; the same message may be answered later" in done.stderr
    assert "the bot raised KeyError: 'lost'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hello, 0 before" in done.stdout


def test_no_such_bot(tmp_path: Path) -> None:
    done = talk(tmp_path, "", "my_bot:bot")
    assert done.returncode == 1
    assert done.stderr == "Error: there is no module my_bot; is its folder on PYTHONPATH?\n"
