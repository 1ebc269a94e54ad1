"""Ids that are shortened, and completed by the Tab key."""

import os
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from chat_client import History
from chat_client.short_ids import AmbiguousId, ShortId, find_message, find_session
from tests.client.command import COMMAND, environment, on_terminal
from tests.client.conftest import Chatbot, Cli, keep
from tests.support.exchanges import MORNING, exchange

MILLISECONDS = int(MORNING.timestamp() * 1000)


def exchange_id(client_id: str, session: int, minute: int) -> UUID:
    """Return an id of version 7 that no other test has."""
    of_client = int(client_id[-8:], 16)
    return UUID(int=(MILLISECONDS + minute * 60_000) << 80 | 0x7 << 76 | 0x8 << 60 | of_client << 4 | session)


@pytest.fixture
def client_id() -> str:
    return f"client-{uuid4().hex[:8]}"


@pytest.fixture
async def sessions(chatbot: Chatbot, client_id: str) -> list[UUID]:
    """Two sessions with three exchanges each, one a minute; their ids have sixteen digits in common."""
    base = uuid4().int >> 64 << 64
    ids = [UUID(int=base | 0xA << 60), UUID(int=base | 0xB << 60)]
    await keep(
        chatbot,
        [
            exchange(
                f"message {session}{minute}",
                id_=exchange_id(client_id, session, minute),
                session_id=ids[session],
                client_id=client_id,
                at=MORNING + timedelta(minutes=minute),
            )
            for minute in range(3)
            for session in range(2)
        ],
    )
    return ids


@pytest.mark.parametrize("given", ["", "abc", "-", "xyz12", "1234.answer", "1" * 33, "1234 5678", "новый"])
def test_what_no_id_begins_with_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="an id begins with"):
        ShortId.parse(given)


async def test_sessions_are_found_by_their_beginning(chatbot: Chatbot, client_id: str, sessions: list[UUID]) -> None:
    async with History(chatbot.history_url) as history:
        for given in (str(sessions[0]), str(sessions[0])[:20], sessions[0].hex[:17], str(sessions[0])[:20].upper()):
            assert await find_session(history, client_id, given) == sessions[0]
        with pytest.raises(AmbiguousId, match=f'more than one session of {client_id} begins with "'):
            await find_session(history, client_id, str(sessions[0])[:8])
        with pytest.raises(AmbiguousId, match="no session"):
            await find_session(history, client_id, "0000")
        with pytest.raises(AmbiguousId, match="is no id"):
            await find_session(history, client_id, "none")
        unknown = uuid4()
        assert await find_session(history, client_id, str(unknown)) == unknown


async def test_messages_are_found_by_their_beginning(chatbot: Chatbot, client_id: str, sessions: list[UUID]) -> None:
    first, second, last = (exchange_id(client_id, *which) for which in ((0, 0), (1, 1), (1, 2)))
    async with History(chatbot.history_url) as history:
        for id_ in (first, second, last):
            assert await find_message(history, client_id, f"{id_.hex}.reply") == f"{id_}.reply"
            assert await find_message(history, client_id, f"{id_}.request") == f"{id_}.request"
        with pytest.raises(AmbiguousId, match=r"more than one message .*\.request, .*\.reply"):
            await find_message(history, client_id, str(first))
        with pytest.raises(AmbiguousId, match="more than one message"):
            await find_message(history, client_id, f"{str(first)[:13]}.reply")
        with pytest.raises(AmbiguousId, match="no message"):
            await find_message(history, client_id, "00000000.reply")
    assert len(sessions) == 2


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
