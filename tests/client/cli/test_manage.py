"""Searching, renaming, deleting, exporting and erasing: as a library and as commands."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from chat_client import History, Refused, Unreachable
from chat_client.history import lines_of
from tests.client.command import on_terminal
from tests.client.conftest import Chatbot, Cli, keep
from tests.client.standins import answering
from tests.support.exchanges import MORNING, exchange


@pytest.fixture
def client_id() -> str:
    return f"client-{uuid4().hex[:8]}"


@pytest.fixture
async def kept(chatbot: Chatbot, client_id: str) -> list[UUID]:
    """Two conversations with two exchanges each, the latest first."""
    sessions = [uuid4(), uuid4()]
    await keep(
        chatbot,
        [
            exchange(f"dog {number} {hour}", session_id=id_, client_id=client_id, at=MORNING + timedelta(hours=hour))
            for number, id_ in enumerate(sessions)
            for hour in (number, number + 5)
        ],
    )
    return sessions[::-1]


@pytest.fixture
async def history(chatbot: Chatbot) -> AsyncIterator[History]:
    async with History(chatbot.history_url) as history:
        yield history


async def sessions(history: History, client_id: str) -> list[UUID]:
    return [session.id async for session in history.sessions(client_id)]


async def test_messages_are_found_page_by_page(chatbot: Chatbot, history: History, client_id: str) -> None:
    await keep(
        chatbot,
        [
            exchange(f"cat {n}", client_id=client_id, session_id=uuid4(), at=MORNING + n * timedelta(1))
            for n in range(75)
        ],
    )
    found = [message.text async for message in history.search(client_id, "CAT")]
    assert found == [text for n in range(74, -1, -1) for text in (f"you said cat {n}", f"cat {n}")]
    assert [message.text async for message in history.search(client_id, "cat 7 said")] == ["you said cat 7"]
    with pytest.raises(Refused, match="query_malformed"):
        _ = [message async for message in history.search(client_id, "")]


async def test_a_session_is_renamed_and_deleted(history: History, kept: list[UUID], client_id: str) -> None:
    for title in ("Straße & Co. 🎉", None):
        assert (await history.rename(kept[0], title)).title == title
    messages = [message async for message in history.messages(kept[1])]
    await history.delete_message(messages[0].id)
    assert [message async for message in history.messages(kept[1])] == messages[1:]
    await history.delete_session(kept[0])
    assert await sessions(history, client_id) == kept[1:]
    with pytest.raises(Refused, match="session_unknown"):
        await history.delete_session(kept[0])
    await history.erase(client_id)
    assert await sessions(history, client_id) == []


async def test_an_export_that_broke_off_is_no_file(tmp_path: Path) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"type": "session"}\n{"type": "message"}\n')

    async with answering(answer) as url, History(url) as history:
        with pytest.raises(Unreachable, match="broke off"):
            await history.export("anna", tmp_path / "all.ndjson")
    assert list(tmp_path.iterdir()) == []


async def test_lines_are_whole_however_they_come() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"b\nc", b"\n\nd\n", b"", b"e"):
            yield chunk

    assert [line async for line in lines_of(chunks())] == [b"ab\n", b"c\n", b"\n", b"d\n", b"e"]


async def test_the_commands(chatbot: Chatbot, cli: Cli, kept: list[UUID], client_id: str, tmp_path: Path) -> None:
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": client_id}
    found = cli("search", "dog", "said", "1", **where)
    assert found.returncode == 0
    assert [line.partition("  bot  ")[2] for line in found.stdout.splitlines()] == [
        "you said dog 1 6",
        "you said dog 1 1",
    ]
    assert cli("search", "nothing", "of", "this", **where).stderr == "no message holds all of these words\n"
    first = json.loads(cli("search", "dog", "--json", **where).stdout.splitlines()[0])
    assert (first["text"], first["direction"]) == ("you said dog 1 6", "reply")

    renamed = cli("rename", kept[0], "My dogs", **where)
    assert renamed.stdout == f"{kept[0]}  My dogs\n"
    assert cli("sessions", **where).stdout.splitlines()[1].endswith("Europe/Berlin  My dogs")
    assert cli("rename", kept[0], **where).stdout == f"{kept[0]}  no title\n"

    exported = cli("export", **where)
    assert exported.stdout == f"{client_id}-history.ndjson\n"
    lines = [json.loads(line) for line in (tmp_path / exported.stdout.strip()).read_text().splitlines()]
    assert lines[-1] == {"type": "end", "sessions": 2, "messages": 8}
    assert cli("export", "-o", exported.stdout.strip(), **where).returncode == 6

    for words in (["delete", kept[0]], ["erase"]):
        refused = cli(*words, stdin="y\n", **where)
        assert refused.returncode == 2
        assert "say --yes" in refused.stderr
    assert cli("delete", "everything", "--yes", **where).returncode == 2
    assert cli("delete", first["id"], "--yes", **where).stderr == f"{first['id']} is deleted\n"
    assert cli("delete", first["id"], "--yes", **where).returncode == 3
    assert cli("delete", kept[0], "--yes", **where).stderr == f"{kept[0]} is deleted\n"
    assert len(cli("sessions", **where).stdout.splitlines()) == 2
    assert cli("erase", "--yes", **where).stderr == f"everything of {client_id} is deleted\n"
    assert cli("sessions", **where).stdout == ""


async def test_on_a_terminal_it_asks_first(
    chatbot: Chatbot, history: History, kept: list[UUID], client_id: str, tmp_path: Path
) -> None:
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": client_id}
    for answer, told, left in (("n", "nothing was deleted", kept), ("y", f"everything of {client_id} is deleted", [])):
        with on_terminal(tmp_path, "erase", **where) as terminal:
            terminal.expect(f"delete everything of {client_id} for good?")
            terminal.type(f"{answer}\r")
            terminal.expect(told)
            assert terminal.wait() == 0
        assert await sessions(history, client_id) == left
