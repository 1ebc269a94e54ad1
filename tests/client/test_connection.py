"""Messages over v2: whatever breaks, each is answered once in its caller's eyes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from uuid import UUID

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from chat_client import (
    Backoff,
    Change,
    Chat,
    Connected,
    Connecting,
    ConnectionLost,
    Idle,
    Lost,
    MessageFailed,
    MessageInvalid,
    Piece,
    Progress,
    Response,
    Restarted,
    Retrying,
    State,
    Status,
    Unanswered,
    Unreachable,
    Version,
    WrongAnswer,
    connect,
    video,
)
from devtools.ports import free_port
from devtools.watching import eventually
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from frameproto.v2 import NO_MESSAGE, Cancel, ClientFrame, MessageRequest, encode_server_frame
from tests.client.standins import Talk, answered, asked, echo, echo_v2, failed, heard, said, talking

FAST = Backoff(0.01, 0.05)
v2 = partial(talking, protocol=SUBPROTOCOL_V2)
anna = partial(connect, client_id="anna", time_zone="Europe/Berlin", backoff=FAST)


def in_turn(*talks: Talk) -> Talk:
    """Return what serves each connection in its own way, and those behind the last as the last."""
    left = list(talks)

    async def talk(websocket: ServerConnection) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(websocket)

    return talk


def cut(websocket: ServerConnection) -> None:
    websocket.transport.abort()


class Scribe:
    """Says back each text, and takes down what it heard."""

    def __init__(self) -> None:
        self.frames: list[ClientFrame] = []

    async def __call__(self, websocket: ServerConnection) -> None:
        while True:
            frame = await heard(websocket)
            self.frames.append(frame)
            if isinstance(frame, MessageRequest):
                await websocket.send(answered(frame))

    def said(self) -> list[tuple[str, bool]]:
        """Return the texts, and whether each was sent again."""
        return [(frame.request.text, frame.again) for frame in self.frames if isinstance(frame, MessageRequest)]


async def test_a_message_whose_answer_was_lost_is_sent_again_with_its_id() -> None:
    first: list[MessageRequest] = []

    async def break_off(websocket: ServerConnection) -> None:
        first.append(await asked(websocket))
        first.append(await asked(websocket))
        cut(websocket)

    scribe = Scribe()
    async with v2(in_turn(break_off, scribe)) as url, anna(url) as chat:
        assert chat.protocol == Version.V2
        replies = await asyncio.gather(chat.ask("one"), chat.ask("two"))
        assert (await chat.ask("three")).text == "three"
    assert [reply.text for reply in replies] == ["one", "two"]
    assert scribe.said() == [("one", True), ("two", True), ("three", False)]
    assert [frame.message_id for frame in first] == [frame.message_id for frame in scribe.frames[:2]]


async def test_the_session_is_kept_over_connections() -> None:
    paths: list[str] = []

    def look(_websocket: object, request: object, response: object) -> None:
        paths.append(request.path)  # type: ignore[attr-defined]  # of websockets
        response.headers["chatbot-session"] = str(UUID(int=len(paths)))  # type: ignore[attr-defined]  # the same

    async def break_off(websocket: ServerConnection) -> None:
        await asked(websocket)
        cut(websocket)

    async with v2(in_turn(break_off, echo_v2), process_response=look) as url, anna(url) as chat:
        assert chat.session_id == UUID(int=1)
        await chat.ask("hello")
    assert "sessionId" not in paths[0]
    assert f"sessionId={UUID(int=1)}" in paths[1]


async def test_what_comes_for_a_message_is_told_as_it_comes() -> None:
    async def stream(websocket: ServerConnection) -> None:
        request = await asked(websocket)
        for frame in (
            Status(request.message_id, Progress.THINKING),
            Piece(request.message_id, "Good "),
            Piece(request.message_id, "luck"),
        ):
            await websocket.send(encode_server_frame(frame))
        await websocket.send(answered(request, "Good luck!"))
        await websocket.wait_closed()

    async with v2(stream) as url, anna(url) as chat:
        events = [event async for event in chat.stream("say good luck")]
    match events:
        case [Status(progress=Progress.THINKING), Piece(text="Good "), Piece(text="luck"), Response(text="Good luck!")]:
            pass
        case _:
            pytest.fail(str(events))


async def test_a_reply_that_comes_again_says_so_before_its_first_piece() -> None:
    async def break_off(websocket: ServerConnection) -> None:
        request = await asked(websocket)
        await websocket.send(encode_server_frame(Piece(request.message_id, "Go")))
        await websocket.ping()
        await asyncio.sleep(0)
        await websocket.close(1011)

    async with v2(in_turn(break_off, echo_v2)) as url, anna(url) as chat:
        events = [type(event) async for event in chat.stream("say good luck")]
    assert events == [Piece, Restarted, Response]


async def test_an_error_of_the_bot_is_raised() -> None:
    async def fail(websocket: ServerConnection) -> None:
        await websocket.send(failed((await asked(websocket)).message_id, "bot_failed"))
        await websocket.wait_closed()

    async with v2(fail) as url, anna(url) as chat:
        with pytest.raises(MessageFailed) as error:
            async for _ in chat.stream("hello"):
                pass
    assert (error.value.code, error.value.message, error.value.response.error_code) == (
        "bot_failed", "so it is", "bot_failed",
    )  # fmt: skip


async def test_no_more_than_a_window_is_on_its_way() -> None:
    go_on = asyncio.Event()
    most = 0

    async def late(websocket: ServerConnection) -> None:
        nonlocal most
        requests = [await asked(websocket) for _ in range(10)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(websocket.recv(), 0.2)
        go_on.set()
        for request in requests:
            await websocket.send(answered(request))
        await echo_v2(websocket)

    async with v2(late) as url, anna(url) as chat:
        texts = [str(number) for number in range(30)]
        replies = await asyncio.gather(*map(chat.ask, texts))
        assert go_on.is_set()
    assert [reply.text for reply in replies] == texts


@asynccontextmanager
async def held() -> AsyncIterator[tuple[str, asyncio.Queue[ClientFrame], asyncio.Queue[bytes]]]:
    """Serve v2 from two queues: what was heard, and what to say."""
    frames: asyncio.Queue[ClientFrame] = asyncio.Queue()
    words: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(websocket: ServerConnection) -> None:
        while True:
            frames.put_nowait(await heard(websocket))

    async def talk(websocket: ServerConnection) -> None:
        hearing = asyncio.create_task(hear(websocket))
        try:
            while True:
                word = await words.get()
                if not word:
                    cut(websocket)
                    return
                await websocket.send(word)
        finally:
            hearing.cancel()
            await asyncio.wait({hearing})
            assert hearing.cancelled() or hearing.exception() is not None

    async with v2(talk) as url:
        yield url, frames, words
        words.put_nowait(b"")


async def request_in(frames: "asyncio.Queue[ClientFrame]") -> MessageRequest:
    frame = await frames.get()
    assert isinstance(frame, MessageRequest)
    return frame


async def test_a_cancelled_message_ends_with_what_the_server_says() -> None:
    async with held() as (url, frames, words), anna(url) as chat:
        taken_back, too_late = await chat.send("one"), await chat.send("two")
        requests = [await request_in(frames), await request_in(frames)]
        taken_back.cancel()
        too_late.cancel()
        too_late.cancel()
        assert [await frames.get(), await frames.get()] == [Cancel(taken_back.id), Cancel(too_late.id)]
        words.put_nowait(failed(taken_back.id, "cancelled"))
        words.put_nowait(answered(requests[1]))
        with pytest.raises(MessageFailed) as cancelled:
            await taken_back.reply()
        assert cancelled.value.code == "cancelled"
        assert (await too_late.reply()).text == "two"
        assert frames.empty()


async def test_a_call_that_is_cancelled_takes_its_message_back() -> None:
    async with held() as (url, frames, words), anna(url) as chat:
        asking = asyncio.create_task(chat.ask("one"))
        first = await request_in(frames)
        asking.cancel()
        assert await frames.get() == Cancel(first.message_id)
        async with aclosing(chat.stream("two")) as events:
            taking = asyncio.create_task(anext(events))
            second = await request_in(frames)
            words.put_nowait(failed(first.message_id, "cancelled"))
            words.put_nowait(encode_server_frame(Piece(second.message_id, "t")))
            assert isinstance(await taking, Piece)
        assert await frames.get() == Cancel(second.message_id)
        words.put_nowait(answered(second))
        await eventually(lambda: chat.unanswered == 0, "all answers")
        assert chat.state is State.OPEN


async def test_a_message_that_is_too_large_for_the_server_fails_alone() -> None:
    async with v2(echo_v2, max_size=1000) as url, anna(url) as chat:
        replies = await asyncio.gather(
            chat.ask("one"),
            chat.ask("x" * 2000),
            chat.ask("two"),
            chat.ask(video(bytes(200_000))),
            return_exceptions=True,
        )
        assert (await chat.ask("still here")).text == "still here"
    match replies:
        case [
            Response(text="one"),
            MessageInvalid(frame_code="frame_too_large"),
            Response(text="two"),
            MessageInvalid(),
        ]:
            pass
        case _:
            pytest.fail(str(replies))


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        pytest.param(failed(NO_MESSAGE, "frame_truncated"), "could not read what was sent", id="of no message"),
        pytest.param(failed(UUID(int=7), "busy"), "nobody asked", id="response to a stranger"),
        pytest.param(encode_server_frame(Piece(UUID(int=7), "a")), "nobody asked", id="piece of a stranger"),
        pytest.param(encode_server_frame(Status(UUID(int=7), Progress.THINKING)), "nobody asked", id="status"),
        pytest.param(b"\x07" * 20, "cannot be read", id="unknown type"),
        pytest.param(said("hello"), "cannot be read", id="v1"),
        pytest.param("hello", "text message", id="text message"),
    ],
)
async def test_what_is_not_of_this_protocol_ends_the_conversation(frame: bytes | str, why: str) -> None:
    async def talk(websocket: ServerConnection) -> None:
        await asked(websocket)
        await websocket.send(frame)
        await websocket.wait_closed()

    async with v2(talk) as url, anna(url) as chat:
        with pytest.raises(Unanswered, match=why) as end:
            await chat.ask("hello")
        assert isinstance(end.value.why, WrongAnswer)
        assert end.value.maybe_answered
        assert chat.state is State.ENDED


async def test_a_server_that_takes_no_version_is_left() -> None:
    async with talking(echo, select_subprotocol=lambda _connection, _offered: None) as url:
        with pytest.raises(WrongAnswer, match=r"does not speak chatbot\.v2"):
            async with anna(url, versions=(Version.V2,)):
                raise AssertionError


# over v1


async def break_off_v1(websocket: ServerConnection) -> None:
    await websocket.recv()
    cut(websocket)


async def test_over_v1_nobody_can_know_whether_a_message_on_its_way_was_answered() -> None:
    async with talking(in_turn(break_off_v1, echo)) as url, anna(url) as chat:
        assert chat.protocol == Version.V1
        asking = [asyncio.create_task(chat.ask(f"{number:02}")) for number in range(15)]
        replies = await asyncio.gather(*asking, return_exceptions=True)
    for reply in replies[:10]:  # a window was on its way
        assert isinstance(reply, Unanswered)
        assert reply.maybe_answered
        assert isinstance(reply.why, ConnectionLost)
        assert "look into history" in reply.advice
    assert [reply.text for reply in replies[10:] if isinstance(reply, Response)] == [f"3 {n}" for n in range(5)]


async def test_over_v1_it_is_sent_again_where_the_caller_allows_that() -> None:
    async with talking(in_turn(break_off_v1, echo)) as url, anna(url, resend_on_v1=True) as chat:
        replies = await asyncio.gather(*(chat.ask(f"{number:02}") for number in range(15)))
    assert [reply.text for reply in replies] == [f"3 {n % 10}" for n in range(15)]


async def test_over_v1_a_message_that_is_taken_back_is_dropped_here() -> None:
    go_on = asyncio.Event()

    async def late(websocket: ServerConnection) -> None:
        await go_on.wait()
        await echo(websocket)

    async with talking(late) as url, anna(url) as chat:
        gone, kept = await chat.send("first"), await chat.send("second")
        await eventually(lambda: gone.message.begun, "the first to be sent")
        gone.cancel()
        with pytest.raises(MessageFailed) as cancelled:
            await gone.reply()
        assert cancelled.value.code == "cancelled"
        go_on.set()
        assert (await kept.reply()).text == "7 d"


async def test_a_server_that_speaks_v1_only_afterwards_cannot_be_asked_for_what_v2_began() -> None:
    async def break_off(websocket: ServerConnection) -> None:
        await asked(websocket)
        cut(websocket)

    connections = 0

    def choose(_websocket: object, offered: list[str]) -> str:
        nonlocal connections
        connections += 1
        return SUBPROTOCOL_V2 if connections == 1 else SUBPROTOCOL_V1

    async with talking(in_turn(break_off, echo), select_subprotocol=choose) as url, anna(url) as chat:
        assert chat.protocol == Version.V2
        with pytest.raises(Unanswered) as lost:
            await chat.ask("one")
        assert lost.value.maybe_answered
        assert (await chat.ask("two")).text == "4 o"
        assert chat.protocol == Version.V1


# the connection


async def test_what_becomes_of_the_connection_is_told() -> None:
    changes: list[Change] = []

    async def idle(websocket: ServerConnection) -> None:
        await websocket.send(answered(await asked(websocket)))
        await websocket.close(4000)

    async def drain(websocket: ServerConnection) -> None:
        await websocket.close(1012)

    async with v2(in_turn(drain, idle, echo_v2)) as url, anna(url, on_change=changes.append) as chat:
        assert (await chat.ask("one")).text == "one"
        await eventually(lambda: chat.state is State.IDLE, "the pause")
        assert (await chat.ask("two")).text == "two"
    opened = [Connecting, Connected]
    assert [type(change) for change in changes] == [*opened, Lost, Retrying, *opened, Lost, Idle, *opened]
    assert [change.again for change in changes if isinstance(change, Connected)] == [False, True, True]
    assert [change.attempt for change in changes if isinstance(change, Connecting)] == [1, 2, 1]


async def test_a_fault_of_on_change_ends_the_conversation_and_comes_out_of_the_block() -> None:
    def faulty(change: Change) -> None:
        if isinstance(change, Lost):
            raise ZeroDivisionError

    async def drain(websocket: ServerConnection) -> None:
        await asked(websocket)
        await websocket.close(1012)

    async with v2(drain) as url:
        with pytest.raises(ZeroDivisionError):
            async with anna(url, on_change=faulty) as chat:
                with pytest.raises(Unanswered, match="the client itself failed"):
                    await chat.ask("hello")
                assert chat.state is State.ENDED


async def test_the_client_gives_up_after_a_while_and_begins_anew_with_the_next_message() -> None:
    gone = asyncio.Event()

    async def talk(websocket: ServerConnection) -> None:
        if not gone.is_set():
            gone.set()
            await asked(websocket)
        cut(websocket)

    changes: list[Change] = []
    async with v2(talk) as url, anna(url, patience_seconds=0.3, on_change=changes.append) as chat:
        with pytest.raises(Unanswered) as end:
            await chat.ask("one")
        assert end.value.maybe_answered
        assert any(isinstance(change, Idle) for change in changes)
        with pytest.raises(Unanswered):
            await chat.ask("two")
    assert sum(isinstance(change, Idle) for change in changes) == 2
    assert sum(isinstance(change, Connecting) for change in changes) > 4


async def test_nobody_at_the_first_attempt_is_told_at_once_and_later_is_waited_for() -> None:
    port = free_port()
    changes: list[Change] = []
    with pytest.raises(Unreachable, match="cannot be reached"):
        async with anna(f"ws://127.0.0.1:{port}"):
            raise AssertionError
    async with serve_v2(port) as server:
        conversation = anna(f"ws://127.0.0.1:{port}", on_change=changes.append)
        chat = await conversation.__aenter__()
        server.close()
        await server.wait_closed()
    asking = asyncio.create_task(chat.ask("hello"))
    await eventually(lambda: any(isinstance(change, Retrying) for change in changes), "an attempt")
    async with serve_v2(port):
        assert (await asking).text == "hello"
        await conversation.__aexit__(None, None, None)


def serve_v2(port: int) -> AbstractAsyncContextManager[Server]:
    return serve(echo_v2, "127.0.0.1", port, subprotocols=[Subprotocol(SUBPROTOCOL_V2)])


async def ask_all(chat: Chat, texts: list[str]) -> list[str]:
    return [reply.text async for reply in chat.ask_many(texts)]


async def test_many_messages_are_answered_in_order_and_taken_as_they_are_sent() -> None:
    taken = 0

    def texts() -> "list[str]":
        return [str(number) for number in range(35)]

    async def each() -> AsyncIterator[str]:
        nonlocal taken
        for text in texts():
            taken += 1
            yield text

    async with v2(echo_v2) as url, anna(url) as chat:
        assert await ask_all(chat, texts()) == texts()
        replies = chat.ask_many(each())
        assert (await anext(replies)).text == "0"
        assert taken == 11
        assert [reply.text async for reply in replies] == texts()[1:]
        outcomes = [type(reply) async for reply in chat.ask_many(["a", "", "b"], return_exceptions=True)]
        assert outcomes == [Response, MessageInvalid, Response]
        with pytest.raises(MessageInvalid):
            await ask_all(chat, ["a", "", "b"])
