"""Everything of a client, out of one installation and into another."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chat_client import FileError, History, Refused
from chat_client.archive import index_lines
from chat_client.archive_import import Import, Imported
from chat_client.history_http import HistoryHttp
from chat_client.tokens import INGEST_SCOPE, mint
from devtools.processes import running
from frameproto import Request, RequestKind, Response, ResponseKind
from tests.client.command import on_terminal
from tests.client.conftest import SAMPLES, Chatbot, Cli, as_chatbot, keep, settings
from tests.support.exchanges import MORNING, exchange

SECRET = "s" * 32
SPOKEN = Request(RequestKind.VOICE, (SAMPLES / "hello.mp3").read_bytes())
SHOWN = Request(RequestKind.VIDEO, (SAMPLES / "hello.mp4").read_bytes())
PICTURE = b"\xff\xd8\xff a picture"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatbot]:
    """Another installation, which asks for tokens."""
    folder = tmp_path_factory.mktemp("other")
    auth = {
        "CHAT_AUTH": "jwt",
        "CHAT_TOKEN_SECRETS": SECRET,
        "CHAT_HISTORY_TOKEN": token("chat", INGEST_SCOPE),
        "HISTORY_AUTH": "jwt",
        "HISTORY_TOKEN_SECRETS": SECRET,
    }
    with running("standalone", folder / "log", settings(folder, **auth)) as service:
        yield as_chatbot(service)


def token(client_id: str, scope: str | None = None) -> str:
    return mint(SECRET, subject=client_id, audience="chatbot", lifetime=timedelta(hours=1), scope=scope)


@pytest.fixture
async def client_id(chatbot: Chatbot) -> str:
    """A client with every kind of message, one of which was deleted, a transcript, a failure, and a title."""
    client_id = f"client-{uuid4().hex[:8]}"
    first, second = uuid4(), uuid4()
    error = Response(ResponseKind.ERROR, "media_unreadable: <b>no</b>")
    await keep(
        chatbot,
        [
            exchange("Grüße & more", session_id=first, client_id=client_id, at=MORNING, message_id=uuid4()),
            exchange(
                session_id=first,
                client_id=client_id,
                at=MORNING + timedelta(minutes=1),
                request=SPOKEN,
                response=Response(ResponseKind.VOICE, "I heard you", b"ID3 a voice"),
                transcript="hello there",
            ),
            exchange(
                session_id=second,
                client_id=client_id,
                at=MORNING + timedelta(hours=1),
                request=SHOWN,
                response=Response(ResponseKind.VIDEO, "I saw you", b"ID3 a voice", PICTURE),
            ),
            exchange(
                session_id=second, client_id=client_id, at=MORNING + timedelta(hours=2), request=SPOKEN, response=error
            ),
            exchange("not so", session_id=second, client_id=client_id, at=MORNING + timedelta(hours=3)),
        ],
    )
    async with History(chatbot.history_url) as history:
        await history.rename(first, "Straße 🎉")
        messages = [message async for message in history.messages(second)]
        await history.delete_message(messages[-2].id)
    return client_id


async def everything(url: str, client_id: str, token: str | None = None) -> list[dict[str, Any]]:
    """Return all that history says of a client."""
    async with History(url, token=token) as history:
        return [json.loads(line) async for line in history.export_lines(client_id)]


async def read_into(other: Chatbot, folder: Path, client_id: str, *, ingest: str | None = None) -> Imported:
    """Read an archive into the other installation, as `import` does."""
    async with (
        HistoryHttp(other.history_url, token=ingest or token("operator", INGEST_SCOPE)) as http,
        History(other.history_url, token=token(client_id)) as history,
    ):
        return await Import(folder, http, history).run(lambda _done: None)


async def test_it_is_the_same_there(chatbot: Chatbot, other: Chatbot, cli: Cli, client_id: str, tmp_path: Path) -> None:
    exported = cli("export", "--media", "--client-id", client_id, "--history", chatbot.history_url)
    assert (exported.returncode, exported.stdout) == (0, f"{client_id}-history\n")
    assert exported.stderr == "2 conversations, 9 messages, 6 media\n"
    folder = tmp_path / exported.stdout.strip()
    assert any(file.read_bytes() == SPOKEN.body for file in (folder / "media").glob("*.request-voice.mp3"))
    page = (folder / "index.html").read_text("utf-8")
    assert "Straße 🎉" in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert page.count('src="media/') == 6

    (tmp_path / "ingest").write_text(token("operator", INGEST_SCOPE))
    (tmp_path / "own").write_text(token(client_id))
    tokens = ("--ingest-token-file", "ingest", "--token-file", "own")
    imported = cli("import", folder, "--history", other.history_url, *tokens)
    assert (imported.returncode, imported.stdout) == (0, "5 exchanges imported, 0 there already\n")
    there = await everything(other.history_url, client_id, token(client_id))
    assert there == await everything(chatbot.history_url, client_id)

    again = await read_into(other, folder, client_id)
    assert (again.stored, again.present) == (0, 5)
    assert await everything(other.history_url, client_id, token(client_id)) == there
    with pytest.raises(Refused, match="access_denied"):
        await read_into(other, folder, client_id, ingest=token(client_id))
    async with History(other.history_url, token=token(client_id)) as history:
        await history.erase(client_id)
    erased = await read_into(other, folder, client_id)
    assert (erased.stored, erased.present, erased.erased) == (0, 0, 5)


async def test_said_again_it_fetches_what_is_new(chatbot: Chatbot, cli: Cli, client_id: str, tmp_path: Path) -> None:
    where = ("--client-id", client_id, "--history", chatbot.history_url, "-o", "all")
    assert cli("export", "--media", *where).returncode == 0
    files = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "all" / "media").iterdir()}
    voice = Response(ResponseKind.VOICE, "new", b"ID3 new")
    await keep(chatbot, [exchange(client_id=client_id, session_id=uuid4(), request=SPOKEN, response=voice)])
    again = cli("export", "--media", *where)
    assert (again.returncode, again.stderr) == (0, "3 conversations, 11 messages, 8 media\n")
    now = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "all" / "media").iterdir()}
    assert len(now) == 8
    assert files.items() <= now.items()


async def test_what_cannot_be_made_again_is_counted(
    chatbot: Chatbot, other: Chatbot, cli: Cli, client_id: str, tmp_path: Path
) -> None:
    where = ("--client-id", client_id, "--history", chatbot.history_url)
    assert cli("export", "-o", "alone.ndjson", *where).returncode == 0
    tokens = {"ingest": token("operator", INGEST_SCOPE), "own": token(client_id)}
    for name, content in tokens.items():
        (tmp_path / name).write_text(content)
    to_other = ("--history", other.history_url, "--ingest-token-file", "ingest", "--token-file", "own")
    done = cli("import", "alone.ndjson", *to_other)
    assert done.returncode == 6
    assert done.stdout == "2 exchanges imported, 0 there already\n"
    assert "3 exchanges: lack media, which are not in the folder" in done.stderr
    lines = await everything(other.history_url, client_id, tokens["own"])
    kinds = [line["kind"] for line in lines if line["type"] == "message"]
    assert kinds == ["text"] * 3

    cut_off = (tmp_path / "alone.ndjson").read_bytes().splitlines(keepends=True)[:-1]
    (tmp_path / "cut.ndjson").write_bytes(b"".join(cut_off))
    (tmp_path / "none.ndjson").write_text("[1]\n")
    for name, says in (("cut.ndjson", "is not whole"), ("none.ndjson", "is not an export"), ("", "cannot be read")):
        with pytest.raises(FileError, match=says):
            await read_into(other, tmp_path / name, client_id)


def test_an_index_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "index").write_text(json.dumps({"type": "end", "sessions": 0, "messages": 0}) + "\n")
    assert [line["type"] for line in index_lines(tmp_path / "index")] == ["end"]
    with pytest.raises(FileError, match="cannot be read"):
        list(index_lines(tmp_path / "nothing"))


async def test_erase_says_how_much_there_is(chatbot: Chatbot, client_id: str, tmp_path: Path) -> None:
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": client_id}
    with on_terminal(tmp_path, "erase", **where) as terminal:
        size = (len(SPOKEN.body) * 2 + len(SHOWN.body) + 2 * len(b"ID3 a voice") + len(PICTURE)) / 1024
        shown = terminal.expect(f"delete everything of {client_id} for good?")
        told = f"history has 2 conversations of {client_id}, with 9 messages and 6 media ({size:,.0f} KiB)"
        assert told in " ".join(shown.split())
        terminal.type("y\r")
        terminal.expect("is deleted")
        assert terminal.wait() == 0
    assert [line["type"] for line in await everything(chatbot.history_url, client_id)] == ["end"]
