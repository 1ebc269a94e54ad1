"""Every command on a terminal that knows ASCII only: characters may be lost, the command may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.command import environment
from tests.client.conftest import SAMPLES, Chatbot, Cli

POSIX = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # Python would take it for UTF-8
WORDS = "grüße aus İstanbul 🙂"


@pytest.mark.parametrize(
    "locale",
    [
        pytest.param({"LC_ALL": "C"}, id="C"),
        pytest.param(POSIX, id="ASCII"),
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ASCII output"),
    ],
)
def test_the_client_says_and_reads_back_anything(
    chatbot: Chatbot, cli: Cli, tmp_path: Path, locale: dict[str, str]
) -> None:
    who = ["--client-id", f"posix-{len(locale)}-{'LC_ALL' in locale}"]
    there = [*who, "--history", chatbot.history_url]
    folder = tmp_path / "antwörten"
    said = [
        cli("send", "text", chatbot.url, WORDS, *who, **locale),
        cli("send", "voice", chatbot.url, SAMPLES / "hello.mp3", "--save-to", folder, *who, **locale),
        cli("connect", chatbot.url, *there, stdin=f"0\n{WORDS}\nq\n", **locale),
    ]
    shown = cli("history", *there, **locale)
    for _ in range(50):  # what was said is delivered a moment later
        if "gr" in shown.stdout:
            break
        shown = cli("history", *there, **locale)
    said += [
        shown,
        cli("sessions", *there, **locale),
        cli("search", *there, "grüße", "--json", **locale),
        cli("export", *there, "--output", tmp_path / "ausgäbe.ndjson", **locale),
    ]
    for done in said:
        assert "Traceback" not in done.stderr, done.args
        assert done.returncode == 0, (done.args, done.stderr)
        assert done.stdout.isascii() or locale == {"LC_ALL": "C"}
    assert WORDS in (tmp_path / "ausgäbe.ndjson").read_text("utf-8")
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", "ws://127.0.0.1:1", "--client-id", "ü"],
        ["connect", "ws://ü.invalid", "--client-id", "a"],
        ["send", "text", "ws://127.0.0.1:1", "ü", "--client-id", "ü", "--time-zone", "ü"],
        ["send", "voice", "ws://127.0.0.1:1", "ü.mp3", "--client-id", "a"],
        ["history", "--client-id", "ü", "--history", "http://127.0.0.1:1"],
        ["search", "--client-id", "a", "--history", "http://127.0.0.1:1", "ü"],
        ["media", "ü", "voice", "--history", "http://127.0.0.1:1"],
        ["delete", "ü", "--yes", "--history", "http://127.0.0.1:1"],
        ["ü"],
    ],
    ids=lambda words: words[0],
)
def test_what_goes_wrong_is_a_line(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments, **POSIX)
    assert done.returncode in {2, 3, 5, 6}, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("at", [3, 5])
def test_an_argument_that_is_not_utf8_is_refused_by_its_name(at: int) -> None:
    words: list[str | bytes] = ["search", "--history", "http://127.0.0.1:1", "a", "--client-id", "b"]
    words[at] = b"\xff"
    done = subprocess.run(
        [sys.executable, "-m", "chat_client", *words], env=environment(), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert b"is not UTF-8" in done.stderr
    assert (b"WORDS" if at == 3 else b"--client-id") in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["permits", "show", "ü", "--redis", "redis://127.0.0.1:1/0"],
        ["permits", "show", "--redis", "redis://ü:1/0"],
        ["loadtest", "report", "--folder", "ü"],
        ["loadtest", "ü"],
        ["chat_service", "ü"],
        ["history_service", "--help"],
        ["standalone", "--help"],
    ],
    ids=" ".join,
)
def test_nor_do_the_other_commands_end_in_a_traceback(tmp_path: Path, command: list[str]) -> None:
    entry = [str(Path(sys.executable).with_name("permits"))] if command[0] == "permits" else None
    done = subprocess.run(
        [*(entry or [sys.executable, "-m", command[0]]), *command[1:]],
        env={**environment(**POSIX), "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == (0 if command[-1] == "--help" else done.returncode or 1)
