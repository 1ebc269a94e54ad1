"""A conversation: replies in order, progress, and every way in which it can end."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from chat_client import (
    Change,
    Chat,
    ConnectionLost,
    Content,
    Lost,
    MessageFailed,
    MessageInvalid,
    State,
    Timing,
    Unanswered,
    Upload,
    Version,
    WrongAnswer,
    connect,
    video,
    voice,
)
from devtools.watching import eventually
from frameproto import RequestKind, ResponseKind
from frameproto.connection import CloseCode
from tests.client.conftest import SAMPLES, Chatbot
from tests.client.standins import echo, said, talking

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
anna = partial(connect, client_id="anna", time_zone="Europe/Berlin")
LARGE = bytes(24 * 1024 * 1024)  # more than the sockets between us and the server hold


async def ask(chat: Chat, text: str) -> str:
    return (await chat.ask(text)).text


async def test_several_asks_at_once_are_answered_in_order(chatbot: Chatbot) -> None:
    async with anna(chatbot.url) as chat, asyncio.TaskGroup() as group:
        texts = [group.create_task(ask(chat, f"say {number}")) for number in range(5)]
        slow = group.create_task(chat.ask(voice(SAMPLES / "hello.mp3")))
        texts += [group.create_task(ask(chat, f"say {number}")) for number in range(5, 25)]
    for number, text in enumerate(texts):
        assert re.findall(r"\d+", text.result()) == [str(number)]
    assert slow.result().kind is ResponseKind.VOICE


async def test_progress_grows_to_the_full_size(chatbot: Chatbot) -> None:
    sent: list[int] = []
    total = 1_000_001

    def note(so_far: int, in_all: int) -> None:
        sent.append(so_far)
        assert in_all == total

    async with anna(chatbot.url, versions=(Version.V1,)) as chat:
        with pytest.raises(MessageFailed, match="media_unreadable") as failed:
            await chat.ask(voice(bytes(total - 1)), on_sent=note)
    assert (failed.value.code, failed.value.exit_code) == ("media_unreadable", 4)
    assert (sent[0], sent[-1], len(sent) > 10) == (0, total, True)
    assert sent == sorted(sent)


async def test_a_message_arrives_whole_however_many_fragments_it_has() -> None:
    async with talking(echo) as url, anna(url) as chat:
        for size in (1, 65_535, 65_536, 65_537, 1_000_000):
            assert await ask(chat, "a" * size) == f"{size + 1} a"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param("", "frame_body_empty", id="empty"),
        pytest.param(Upload(RequestKind.TEXT, b"\xff"), "frame_text_invalid", id="not UTF-8"),
        pytest.param("\udcff", "frame_text_invalid", id="a byte that is not UTF-8"),
        pytest.param("\ud800", "frame_text_invalid", id="surrogate"),
        pytest.param("a" * 1000, "frame_too_large", id="too large"),
    ],
)
async def test_what_is_no_request_is_not_sent(chatbot: Chatbot, content: Content, code: str) -> None:
    async with anna(chatbot.url, max_frame_bytes=1000) as chat:
        with pytest.raises(MessageInvalid) as invalid:
            await chat.ask(content)
        assert (invalid.value.frame_code, invalid.value.exit_code) == (code, 2)
        assert "still here" in await ask(chat, "say still here")


async def test_a_cancelled_ask_does_not_shift_later_replies() -> None:
    came, go_on = asyncio.Event(), asyncio.Event()

    async def slow(websocket: ServerConnection) -> None:
        first = await websocket.recv()
        came.set()
        await go_on.wait()
        await websocket.send(said(f"{len(first)} to nobody"))
        await echo(websocket)

    async with talking(slow) as url, anna(url) as chat:
        gone = asyncio.create_task(ask(chat, "first"))
        await came.wait()
        second = asyncio.create_task(ask(chat, "second"))
        gone.cancel()
        go_on.set()
        assert await second == "7 d"
        assert await ask(chat, "and third") == "10 d"


async def test_an_ask_cancelled_half_way_is_sent_whole_and_one_before_its_turn_not_at_all() -> None:
    go_on, under_way = asyncio.Event(), asyncio.Event()

    async def late(websocket: ServerConnection) -> None:
        await go_on.wait()
        await echo(websocket)

    async with talking(late) as url, anna(url, max_frame_bytes=2 * len(LARGE)) as chat:
        half = asyncio.create_task(chat.ask(video(LARGE), on_sent=lambda sent, _: under_way.set() if sent else None))
        await under_way.wait()
        never = asyncio.create_task(ask(chat, "never"))
        last = asyncio.create_task(ask(chat, "last"))
        await asyncio.sleep(0)
        half.cancel()
        never.cancel()
        go_on.set()
        assert await last == "5 t"
        assert await ask(chat, "b" * 100_000) == "100001 b"


async def test_a_fault_of_on_sent_is_raised_to_whoever_passed_it() -> None:
    def faulty(sent: int, total: int) -> None:
        raise ZeroDivisionError(sent, total)

    async with talking(echo) as url, anna(url) as chat:
        with pytest.raises(ZeroDivisionError):
            await chat.ask("a", on_sent=faulty)
        assert await ask(chat, "still here") == "11 e"


def closing(code: int) -> Callable[[ServerConnection], Awaitable[None]]:
    """Return what closes after one message; 1006 is no close at all, and 1005 one without a code."""

    async def close(websocket: ServerConnection) -> None:
        await websocket.recv()
        if code == 1006:
            websocket.transport.abort()
        elif code == 1005:
            websocket.transport.write(b"\x88\x00")
            await websocket.wait_closed()
        else:
            await websocket.close(code, "so be it")

    return close


@pytest.mark.parametrize("code", [*map(int, CloseCode), 4999])
async def test_each_close_is_told_to_all_whose_message_was_on_its_way(code: int) -> None:
    changes: list[Change] = []
    async with talking(closing(code)) as url, anna(url, patience_seconds=0, on_change=changes.append) as chat:
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*(ask(chat, "a" * 100_000) for _ in range(3)), return_exceptions=True)
        (lost,) = (change.why for change in changes if isinstance(change, Lost))
    assert isinstance(lost, ConnectionLost)
    assert (lost.code, lost.exit_code) == (code, 3 if code == 4003 else 5)  # 3: come with a fresh token
    assert lost.may_reconnect is (code not in {1000, 1002, 1007, 1009, 4001, 4003})
    assert ("so be it" in str(lost)) is (code not in {1005, 1006})
    if code == 1009:
        assert isinstance(ends.pop(0), MessageInvalid)
    for end in ends:
        assert isinstance(end, Unanswered)
        assert (end.why, end.exit_code) == (lost, lost.exit_code)
        assert str(code) in str(end)


async def reply_to_nobody(websocket: ServerConnection) -> None:
    await websocket.send(said("hello?"))
    await websocket.wait_closed()


async def two_replies(websocket: ServerConnection) -> None:
    await websocket.recv()
    await websocket.send(said("once"))
    await reply_to_nobody(websocket)


def sending(message: bytes | str) -> Callable[[ServerConnection], Awaitable[None]]:
    async def send(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send(message)
        await websocket.wait_closed()

    return send


def writing(data: bytes) -> Callable[[ServerConnection], Awaitable[None]]:
    async def write(websocket: ServerConnection) -> None:
        await websocket.recv()
        websocket.transport.write(data)
        await websocket.wait_closed()

    return write


@pytest.mark.parametrize(
    ("talk", "answered", "why"),
    [
        pytest.param(reply_to_nobody, False, "nobody asked", id="reply to nothing"),
        pytest.param(two_replies, True, "nobody asked", id="two replies"),
        pytest.param(sending("hello"), False, "nobody asked", id="text message"),
        pytest.param(sending(b"\x07hello"), False, "cannot be read", id="unknown kind"),
        pytest.param(sending(b""), False, "cannot be read", id="empty"),
        pytest.param(sending(said("hello")[:-1]), False, "cannot be read", id="cut short"),
        pytest.param(writing(b"\x83\x00"), False, "cannot be read", id="unknown opcode"),
        pytest.param(writing(b"\x81\x01\xff"), False, "cannot be read", id="text not UTF-8"),
        pytest.param(writing(b"\x82\x7f" + (1 << 40).to_bytes(8)), False, "cannot be read", id="without end"),
    ],
)
async def test_what_is_not_of_this_protocol_ends_the_conversation(
    talk: Callable[[ServerConnection], Awaitable[None]], *, answered: bool, why: str
) -> None:
    async with asyncio.timeout(60), talking(talk) as url, anna(url) as chat:
        with suppress(Unanswered):
            assert await ask(chat, "hello") == "once"
            assert answered
        await eventually(lambda: chat.state is State.ENDED, "the end")
        with pytest.raises(Unanswered, match=why) as end:
            await ask(chat, "too late")
        assert isinstance(end.value.why, WrongAnswer)
        assert not end.value.maybe_answered


async def test_all_who_wait_for_a_reply_are_told_when_the_first_is_unreadable() -> None:
    async with talking(sending(b"\x07")) as url, anna(url) as chat:
        ends = await asyncio.gather(*(ask(chat, text) for text in "abc"), return_exceptions=True)
    assert [type(end.why) for end in ends if isinstance(end, Unanswered)] == [WrongAnswer] * 3


async def test_asks_end_with_the_conversation() -> None:
    async def silent(websocket: ServerConnection) -> None:
        await websocket.wait_closed()

    async with talking(silent) as url:
        async with anna(url) as chat:
            waiting = asyncio.create_task(ask(chat, "hello"))
            await chat.round_trip_seconds()
        with pytest.raises(Unanswered, match="1000") as end:
            await waiting
        assert end.value.maybe_answered
        with pytest.raises(Unanswered, match="1000"):
            await ask(chat, "too late")


async def test_a_server_that_answers_no_ping_is_gone() -> None:
    async def deaf(websocket: ServerConnection) -> None:
        websocket.transport.pause_reading()
        await websocket.wait_closed()

    async with (
        asyncio.timeout(60),
        talking(deaf, close_timeout=0.1) as url,
        anna(url, timing=Timing(ping_seconds=0.05, pong_seconds=0.05), patience_seconds=0) as chat,
    ):
        with pytest.raises(Unanswered) as end:
            await ask(chat, "hello")
    assert isinstance(end.value.why, ConnectionLost)
    assert end.value.why.code == 1006
