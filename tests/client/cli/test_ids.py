"""Ids that are shortened, and completed by the Tab key."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from tests.client.command import COMMAND, environment, on_terminal
from tests.client.conftest import Chatbot, Cli, exchange_id


def test_commands_take_them(chatbot: Chatbot, cli: Cli, client_id: str, sessions: list[UUID]) -> None:
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": client_id, "CHAT_TIME_ZONE": "UTC"}
    short = str(sessions[1])[:20]
    assert "message 12" in cli("history", "--session", short, **where).stdout
    assert cli("rename", short, "Renamed", **where).stdout == f"{sessions[1]}  Renamed\n"
    talked = cli(
        "connect", chatbot.url, "--session", short, stdin=f"/session\n/session {str(sessions[0])[:20]}\n", **where
    )
    assert talked.stdout == f"{sessions[1]}\n"
    assert f"goodbye; session {sessions[0]}" in talked.stderr
    assert cli("send", "text", chatbot.url, "say hello", "--session", short, **where).returncode == 0
    message = exchange_id(client_id, 1, 0)
    assert cli("delete", f"{message.hex}.reply", "--yes", **where).stderr == f"{message}.reply is deleted\n"
    unclear = cli("delete", str(sessions[0])[:8], "--yes", **where)
    assert unclear.returncode == 2
    assert f"{sessions[0]}" in unclear.stderr
    nobody = cli("delete", short, "--yes", CHAT_HISTORY_URL=chatbot.history_url)
    assert nobody.returncode == 2
    assert "say by --client-id whose it is" in nobody.stderr
    assert cli("history", "--session", "my session", **where).returncode == 2
    assert cli("rename", f"{message}.reply", "x", **where).returncode == 2


def complete(*words: str, **variables: str) -> list[str]:
    """Return what the Tab key of bash offers for the last word."""
    done = subprocess.run(
        COMMAND,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(
            **variables,
            _CHAT_CLIENT_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["chat-client", *words]),
            COMP_CWORD=str(len(words)),
        ),
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_they_are_completed(chatbot: Chatbot, client_id: str, sessions: list[UUID], tmp_path: Path) -> None:
    where = {
        "CHAT_HISTORY_URL": chatbot.history_url,
        "CHAT_CLIENT_ID": client_id,
        "CHAT_CONFIG": str(tmp_path / "none.toml"),
    }
    both = [str(sessions[1]), str(sessions[0])]
    assert sorted(complete("rename", str(sessions[0])[:6], **where)) == sorted(both)
    assert complete("history", "--session", str(sessions[0])[:20], **where) == [str(sessions[0])]
    messages = complete("media", "", **where)
    assert len(messages) == 6
    assert {message.partition(".")[2] for message in messages} == {"request", "reply"}
    assert len(complete("delete", "", **where)) == 8
    assert complete("rename", "", **{**where, "CHAT_HISTORY_URL": "http://127.0.0.1:1"}) == []
    del where["CHAT_CLIENT_ID"]
    assert complete("rename", "", **where) == []
    assert os.linesep not in "".join(messages)


PRESSES = 10


def test_ctrl_c_at_a_question_is_130(chatbot: Chatbot, client_id: str, sessions: list[UUID], tmp_path: Path) -> None:
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": client_id}
    for keys, code in (("", 130), ("\x04", 0), ("n\r", 0)):
        with on_terminal(tmp_path, "delete", str(sessions[0])[:20], **where) as terminal:
            terminal.expect(f"delete the conversation {sessions[0]} for good?")
            for _ in range(PRESSES):  # a key that comes between the question and the reading of it may be lost
                if keys:
                    terminal.type(keys)
                else:
                    terminal.process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    terminal.process.wait(timeout=2)
                    break
            assert terminal.wait() == code
            assert "is deleted" not in terminal.shown
