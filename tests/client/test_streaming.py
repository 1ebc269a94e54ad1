"""Replies that grow, against the chatbot itself: pieces, taking back, and a server that dies in the middle."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from chat_client import (
    Backoff,
    Event,
    History,
    MessageFailed,
    Piece,
    Refused,
    Response,
    Restarted,
    Status,
    Version,
    connect,
)
from devtools.processes import ServiceProcess, running, start
from devtools.watching import eventually
from tests.client.conftest import as_chatbot, settings

BOT = """
import asyncio
from pathlib import Path


async def bot(turn, memory):
    for word in turn.text.split():
        yield word + " "
        if word == "wait":
            while not Path("go-on").exists():
                await asyncio.sleep(0.01)
    yield "done"
"""
"""Says the words back one by one, and waits behind `wait` until a file lets it go on."""

anna = partial(connect, client_id="anna", time_zone="Europe/Berlin", backoff=Backoff(0.05, 0.5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "word_bot.py").write_text(BOT)
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[ServiceProcess]:
    with running("standalone", folder / "log", settings(folder, CHAT_BOT="word_bot:bot")) as service:
        yield service


async def messages(service: ServiceProcess, session_id: UUID | None) -> list[str | None]:
    assert session_id is not None
    async with History(as_chatbot(service).history_url) as history:
        with suppress(Refused):  # nothing has been delivered yet
            return [message.text async for message in history.messages(session_id)]
    return []


async def test_a_reply_grows_and_one_that_is_taken_back_stays_as_far_as_it_was_shown(
    service: ServiceProcess, folder: Path
) -> None:
    async with anna(as_chatbot(service).url) as chat:
        assert chat.protocol == Version.V2
        asked = await chat.send("please wait here")
        shown = ""
        async for event in asked:
            shown += event.text if isinstance(event, Piece) else ""
            if shown == "please wait ":
                break
        asked.cancel()
        with pytest.raises(MessageFailed) as cancelled:
            await asked.reply()
        assert cancelled.value.code == "cancelled"
        (folder / "go-on").touch()
        events = [event async for event in chat.stream("now wait no more")]
        assert isinstance(events[-1], Response)
        assert events[-1].text == "now wait no more done"
        assert "".join(event.text for event in events if isinstance(event, Piece)) == events[-1].text
        assert all(isinstance(event, Piece | Status | Response) for event in events)
    await eventually(lambda: all_kept(service, chat.session_id, 4), "history")
    kept = await messages(service, chat.session_id)
    assert (kept[0], kept[2:]) == ("please wait here", ["now wait no more", "now wait no more done"])


async def take_down(events: list[Event], arriving: AsyncIterator[Event]) -> None:
    async for event in arriving:
        events.append(event)  # noqa: PERF401 - each is looked at as it comes


async def all_kept(service: ServiceProcess, session_id: UUID | None, wanted: int) -> bool:
    return len(await messages(service, session_id)) >= wanted


async def test_a_server_that_is_killed_in_the_middle_of_a_reply_gives_it_once_when_it_is_back(folder: Path) -> None:
    fixed = settings(folder, CHAT_BOT="word_bot:bot")
    first = start("standalone", folder / "log", fixed)
    events: list[Event] = []
    again: ServiceProcess | None = None
    try:
        async with anna(as_chatbot(first).url) as chat:
            listening = asyncio.create_task(take_down(events, chat.stream("please wait here")))
            behind = asyncio.create_task(chat.ask("and then"))
            await eventually(lambda: any(isinstance(event, Piece) for event in events), "a piece")
            first.kill(signal.SIGKILL)
            first.process.wait()
            (folder / "go-on").touch()
            again = await asyncio.to_thread(
                start, "standalone", folder / "log", {**fixed, "CHAT_PORT": first.ports["chat"]}
            )
            await listening
            assert (await behind).text == "and then done"
        await eventually(lambda: all_kept(again, chat.session_id, 4), "history")
        assert await messages(again, chat.session_id) == [
            "please wait here", "please wait here done", "and then", "and then done",
        ]  # fmt: skip
    finally:
        for service in (first, again):
            if service is not None and service.process.poll() is None:
                service.stop()
    last = events.pop()
    assert isinstance(last, Response)
    assert last.text == "please wait here done"
    assert sum(isinstance(event, Restarted) for event in events) == 1
