"""Voice notes from the microphone, by stand-ins for the tools that record."""

import stat
import sys
import time
from pathlib import Path

import pytest

from chat_client import FileError
from chat_client.cli.recording import find_recorder, recording
from tests.client.command import PATIENCE_SECONDS, on_terminal
from tests.client.conftest import SAMPLES, Chatbot

RECORDS = """#!{python}
import signal, sys, wave
from pathlib import Path
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
with wave.open(sys.argv[-1], "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
    file.writeframes(bytes(32000))
Path(__file__).with_name("records").touch()
signal.pause()
"""
FAILS = """#!{python}
import sys
sys.exit("arecord: main:831: audio open error: No such file or directory")
"""
CONVERTS = """#!{python}
import shutil, sys
shutil.copy({sample!r}, sys.argv[-1])
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(script.format(python=sys.executable, sample=str(SAMPLES / "hello.mp3")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def until_it_records(folder: Path) -> None:
    """Wait until the stand-in has written something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (folder / "records").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (folder / "records").unlink()


def test_what_to_install_is_told(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(FileError, match="nothing here records: install"):
        find_recorder()
    tool(tools, "ffmpeg", RECORDS)
    assert find_recorder().program == "ffmpeg"
    tool(tools, "arecord", RECORDS)
    assert find_recorder().program == "arecord"


async def test_a_recorder_that_fails_is_told(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    tool(tools, "arecord", FAILS)
    async with recording(find_recorder()) as recorded:
        await recorded.ended()
        with pytest.raises(FileError, match="arecord recorded nothing: arecord: main:831: audio open error"):
            await recorded.keep(tmp_path / "replies")
    assert not (tmp_path / "replies").exists()


def test_a_recording_is_sent(chatbot: Chatbot, tools: Path, tmp_path: Path) -> None:
    tool(tools, "arecord", RECORDS)
    where = ("connect", chatbot.url, "--client-id", "rec", "--time-zone", "UTC")
    with on_terminal(tmp_path, *where, PATH=str(tools)) as terminal:
        terminal.expect("/help lists")
        terminal.type("/record\r")
        terminal.expect("recording; Enter sends it")
        terminal.expect(">")
        until_it_records(tools)
        terminal.type("\r")
        terminal.expect("-recording.wav")
        terminal.expect("listened to all of it")
        terminal.type("/record\r")
        terminal.expect("recording; Enter sends it")
        terminal.expect(">")
        until_it_records(tools)
        terminal.type("\x04")
        terminal.expect("thrown away")
        tool(tools, "ffmpeg", CONVERTS)
        terminal.type("/record\r")
        terminal.expect("recording; Enter sends it")
        terminal.expect(">")
        until_it_records(tools)
        terminal.type("\r")
        terminal.expect("-recording.mp3")
        terminal.expect("listened to all of it")
        terminal.type("/quit\r")
        assert terminal.wait() == 0
    saved = sorted(file.suffix for file in (tmp_path / "replies").glob("*-recording*"))
    assert saved == [".mp3", ".wav"]


def test_without_a_tool_the_conversation_goes_on(chatbot: Chatbot, tools: Path, tmp_path: Path) -> None:
    where = ("connect", chatbot.url, "--client-id", "rec", "--time-zone", "UTC")
    with on_terminal(tmp_path, *where, PATH=str(tools)) as terminal:
        terminal.expect("/help lists")
        terminal.type("/record\r")
        terminal.expect("nothing here records")
        terminal.type("say still here\r")
        terminal.expect("bot  still here")
        terminal.type("/quit\r")
        assert terminal.wait() == 0
