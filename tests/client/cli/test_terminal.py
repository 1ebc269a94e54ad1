"""The command as a person meets it: on a terminal."""

import signal
from pathlib import Path

from devtools.processes import running, start
from tests.client.command import on_terminal
from tests.client.conftest import SAMPLES, Chatbot, as_chatbot, settings, wait_until_stored


def test_a_conversation(chatbot: Chatbot, tmp_path: Path) -> None:
    where = ("connect", chatbot.url, "--client-id", "kim", "--time-zone", "Asia/Tokyo")
    with on_terminal(tmp_path, *where, "--history", chatbot.history_url) as terminal:
        terminal.expect("connected as kim")
        terminal.expect("/help lists")
        terminal.expect(">")
        terminal.type("What time is it?\r")
        terminal.expect("Asia/Tokyo")
        terminal.type(f"/voice {SAMPLES}/hello.mp3\r")
        terminal.expect("Thank you for your voice note")
        terminal.expect("voice.mp3")
        terminal.type("/dance\r")
        terminal.expect("is no command")
        wait_until_stored(chatbot, "kim", "Thank you for your voice note")
        terminal.type("/history\r")
        terminal.expect("What time is it?")
        terminal.type("/search asia tokyo\r")  # which is in history: it was shown
        terminal.expect("Asia/Tokyo")
        terminal.type("/session new\r")
        terminal.expect("session ")
        terminal.type("0\r")
        terminal.expect("text >")
        terminal.type("say the menu works\r")
        terminal.expect("bot  the menu works")
        terminal.expect(">")
        terminal.type("\x04")
        terminal.expect("goodbye")
        assert terminal.wait() == 0
    assert len(list((tmp_path / "replies").iterdir())) == 1


def test_the_end_of_input_may_come_before_the_question(chatbot: Chatbot, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
        terminal.type("\x04")  # the terminal still reads lines
        terminal.expect("goodbye")
        assert terminal.wait() == 0


def test_names_of_files_are_completed(chatbot: Chatbot, tmp_path: Path) -> None:
    (tmp_path / "a-rather-long-name.mp3").write_bytes((SAMPLES / "hello.mp3").read_bytes())
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
        terminal.expect("/help lists")
        terminal.expect(">")
        terminal.type("/voi\t")
        terminal.expect("ce")
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


def test_a_server_that_goes_away_is_told_once_and_the_connection_comes_back_by_itself(tmp_path: Path) -> None:
    fixed = settings(tmp_path)
    with running("standalone", tmp_path / "log", fixed) as first:
        chatbot = as_chatbot(first)
        with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
            terminal.expect("/help lists")
            terminal.expect(">")
            terminal.type("hello\r")
            terminal.expect("bot")
            assert first.stop() == 0
            terminal.expect("1012")
            terminal.expect("connecting again")
            again = start("standalone", tmp_path / "log-again", {**fixed, "CHAT_PORT": first.ports["chat"]})
            try:
                terminal.expect("connected again")
                terminal.type("say nothing was typed twice\r")
                terminal.expect("bot  nothing was typed twice")
                terminal.type("q\r")
                assert terminal.wait() == 0
            finally:
                again.stop()


def test_ctrl_c_at_the_prompt_ends_with_130_and_names_the_session(chatbot: Chatbot, tmp_path: Path) -> None:
    for send_signal in (False, True):
        with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess") as terminal:
            terminal.expect("/help lists")
            terminal.expect(">")
            if send_signal:
                terminal.process.send_signal(signal.SIGINT)
            else:
                terminal.type("\x03")
            terminal.expect("goodbye; session ")
            assert terminal.wait() == 130
            assert "Traceback" not in terminal.shown
