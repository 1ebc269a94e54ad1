"""The command as a person meets it: on a terminal."""

import signal
from pathlib import Path

from devtools.processes import running, start
from tests.client.command import on_terminal
from tests.client.conftest import SAMPLES, Chatbot, as_chatbot, settings


def test_a_conversation(chatbot: Chatbot, tmp_path: Path) -> None:
    where = ("connect", chatbot.url, "--client-id", "tess", "--time-zone", "Asia/Tokyo")
    with on_terminal(tmp_path, *where, "--history", chatbot.history_url) as terminal:
        terminal.expect("connected as tess")
        terminal.expect("0 text")
        terminal.type("0\r")
        terminal.expect("text >")
        terminal.type("What time is it?\r")
        terminal.expect("Asia/Tokyo")
        terminal.expect("q quit >")
        terminal.type("1\r")
        terminal.expect("MP3 file >")
        terminal.type(f"{SAMPLES}/hello.mp3\r")
        terminal.expect("Thank you for your voice note")
        terminal.expect("voice.mp3")
        terminal.type("h\r")
        terminal.expect("What time is it?")
        terminal.expect("q quit >")
        terminal.type("\x04")
        terminal.expect("goodbye")
        assert terminal.wait() == 0
    assert len(list((tmp_path / "replies").iterdir())) == 1


def test_names_of_files_are_completed(chatbot: Chatbot, tmp_path: Path) -> None:
    (tmp_path / "a-rather-long-name.mp3").write_bytes((SAMPLES / "hello.mp3").read_bytes())
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
        terminal.expect("q quit >")
        terminal.type("1\r")
        terminal.expect("MP3 file >")
        terminal.type("a-ra\t")
        terminal.expect("-long-name.mp3")
        terminal.type("\r")
        terminal.expect("Thank you for your voice note")
        terminal.type("q\r")
        assert terminal.wait() == 0


def test_no_color_means_none(chatbot: Chatbot, tmp_path: Path) -> None:
    for variables, colourful in (({}, True), ({"NO_COLOR": "1"}, False)):
        with on_terminal(tmp_path, "send", "text", chatbot.url, "hi", "--client-id", "tess", **variables) as terminal:
            assert terminal.wait() == 0
        assert "bot" in terminal.shown
        assert ("\x1b[1;36m" in terminal.raw) is colourful


def test_a_server_that_goes_away_is_told_at_once_and_the_next_message_connects_again(tmp_path: Path) -> None:
    fixed = settings(tmp_path)
    with running("standalone", tmp_path / "log", fixed) as first:
        chatbot = as_chatbot(first)
        with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
            terminal.expect("q quit >")
            terminal.type("0 hello\r")
            terminal.expect("bot")
            terminal.expect("q quit >")
            assert first.stop() == 0
            terminal.expect("1012")
            terminal.expect("your next message connects again")
            terminal.type("0 hello\r")
            terminal.expect("cannot be reached")
            again = start("standalone", tmp_path / "log-again", {**fixed, "CHAT_PORT": first.ports["chat"]})
            try:
                terminal.type("0 hello\r")
                terminal.expect("connected as tess")
                terminal.expect("bot")
                terminal.type("q\r")
                assert terminal.wait() == 0
            finally:
                again.stop()


def test_ctrl_c_ends_it(chatbot: Chatbot, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
        terminal.expect("q quit >")
        terminal.type("\x03")
        assert terminal.wait() == 0
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
        terminal.expect("q quit >")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() in {0, 130}
        assert "Traceback" not in terminal.shown
