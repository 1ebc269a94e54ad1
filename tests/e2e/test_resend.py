"""A message of v2 that is sent again after its pod is gone: answered once, and in history as it was answered."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.watching import PATIENCE_SECONDS, eventually, metric
from frameproto import Request, RequestKind
from frameproto.connection import SUBPROTOCOL_V2
from frameproto.v2 import (
    MessageRequest,
    MessageResponse,
    Piece,
    ServerFrame,
    decode_server_frame,
    encode_client_frame,
)
from tests.e2e.talking import historian, let_in, pod_of
from tests.support.model_api import chunk, words

MESSAGE = UUID("0197b0c8-0000-7000-8000-00000000000b")
SESSION = "0197b0c8-0000-7000-8000-00000000000a"
QUESTION = Request(RequestKind.TEXT, b"how are you?")

pytestmark = pytest.mark.timeout(300)  # each test starts a system of its own


class Model:
    """A model whose every reply is another; it stops half-way until the test lets it go on.

    Attributes:
        turns: how often it was asked.
        may_end: whether it goes on.
        url: of its API.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.may_end = asyncio.Event()
        self.url = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.turns += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(chunk(f"This is reply {self.turns}, "))
        await self.may_end.wait()
        for event in words("which is whole."):
            await answer.write(event)
        return answer


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    standing_in = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", standing_in.complete)
    async with TestServer(app) as server:
        standing_in.url = str(server.make_url("/v1"))
        yield standing_in


@pytest.fixture
async def stack(model: Model, fresh_stores: StoreAddresses, tmp_path: Path) -> AsyncIterator[Stack]:
    """Two chat pods that ask the model."""
    chat = {
        "CHAT_BOT": "llm",
        "CHAT_LLM_BASE_URL": model.url,
        "CHAT_LLM_MODEL": "stand-in",
        "CHAT_LLM_API_KEY": "a-key",
    }
    with open_stack(tmp_path, fresh_stores, name=f"resend-{uuid4().hex[:6]}", chat=chat) as running:
        yield running
        model.may_end.set()


def come(stack: Stack) -> AbstractAsyncContextManager[ClientConnection]:
    """Connect over v2, always with the same session."""
    return let_in(stack, "anna", subprotocol=SUBPROTOCOL_V2, sessionId=SESSION)


async def send(chat: ClientConnection, *, again: bool = False) -> None:
    await chat.send(encode_client_frame(MessageRequest(MESSAGE, QUESTION, again=again)))


async def frames(chat: ClientConnection) -> AsyncIterator[ServerFrame]:
    """Yield what the server says, up to the response."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            frame = await chat.recv()
            assert isinstance(frame, bytes)
            told = decode_server_frame(frame)
            yield told
            if isinstance(told, MessageResponse):
                return


async def response(chat: ClientConnection) -> str:
    """Return the text of the one response, which is that to the message."""
    told = [frame async for frame in frames(chat)][-1]
    assert isinstance(told, MessageResponse)
    assert told.message_id == MESSAGE
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(chat.recv(), 0.3)
    return told.response.text


async def kill(stack: Stack, victim: int) -> None:
    stack.chat[victim].kill()
    assert await asyncio.to_thread(stack.chat[victim].process.wait, 10) == -signal.SIGKILL


async def outbox_records(stack: Stack) -> float:
    running = [pod for pod in stack.chat if pod.process.poll() is None]
    return sum([await metric(pod.ports["chat-metrics"], "chatbot_outbox_records") for pod in running])


async def check_history(stack: Stack, reply: str) -> None:
    """Check that history has the message once, with this reply, when all is delivered."""

    async def delivered() -> bool:
        return await outbox_records(stack) == 0

    await eventually(delivered, "the outboxes to be empty")
    async with historian(stack) as history:
        messages = await history.messages("anna", 2)
    assert [(each["message_id"], each["text"]) for each in messages] == [
        (str(MESSAGE), QUESTION.text),
        (str(MESSAGE), reply),
    ]


async def test_a_pod_is_killed_in_the_middle_of_a_reply_and_another_answers(stack: Stack, model: Model) -> None:
    async with come(stack) as chat:
        await send(chat)
        pieces = [frame.text async for frame in until_piece(chat)]
        assert pieces == ["This is reply 1, "]
        victim = pod_of(stack, "anna")
        await kill(stack, victim)
        with pytest.raises(ConnectionClosed):
            await response(chat)
    model.may_end.set()
    async with come(stack) as chat:
        await send(chat, again=True)
        assert await response(chat) == "This is reply 2, which is whole."
    stack.restart_chat(victim)
    await check_history(stack, "This is reply 2, which is whole.")
    assert model.turns == 2


async def test_an_answer_that_its_pod_took_with_it_does_not_replace_the_one_that_was_seen(
    stack: Stack, model: Model
) -> None:
    model.may_end.set()
    for pod in stack.history:  # it must not have the first answer before the second one
        pod.kill(signal.SIGSTOP)
    async with come(stack) as chat:
        await send(chat)
        await eventually(lambda: _has(stack, 1), "the answer to be kept")
        victim = pod_of(stack, "anna")
        await kill(stack, victim)  # the client never looks at the answer
    async with come(stack) as chat:
        await send(chat, again=True)
        assert await response(chat) == "This is reply 2, which is whole."
    for pod in stack.history:
        pod.kill(signal.SIGCONT)
    await check_history(stack, "This is reply 2, which is whole.")
    stack.restart_chat(victim)
    await check_history(stack, "This is reply 2, which is whole.")


async def test_an_answer_that_history_has_is_given_by_another_pod_without_a_second_turn(
    stack: Stack, model: Model
) -> None:
    model.may_end.set()
    async with come(stack) as chat:
        await send(chat)
        async with historian(stack) as history:
            await history.messages("anna", 2)
        await kill(stack, pod_of(stack, "anna"))
    async with come(stack) as chat:
        await send(chat, again=True)
        assert await response(chat) == "This is reply 1, which is whole."
    assert model.turns == 1
    await check_history(stack, "This is reply 1, which is whole.")


async def test_an_answer_in_the_outbox_of_the_same_pod_is_given_without_a_second_turn(
    stack: Stack, model: Model
) -> None:
    model.may_end.set()
    await kill(stack, 1)
    for pod in stack.history:
        pod.kill(signal.SIGSTOP)
    async with come(stack) as chat:
        await send(chat)
        await eventually(lambda: _has(stack, 1), "the answer to be kept")
        chat.transport.abort()
    async with come(stack) as chat:
        await send(chat, again=True)
        assert await response(chat) == "This is reply 1, which is whole."
    assert model.turns == 1
    for pod in stack.history:
        pod.kill(signal.SIGCONT)
    await check_history(stack, "This is reply 1, which is whole.")


async def until_piece(chat: ClientConnection) -> AsyncIterator[Piece]:
    async for frame in frames(chat):
        if isinstance(frame, Piece):
            yield frame
            return


async def _has(stack: Stack, records: int) -> bool:
    return await outbox_records(stack) >= records
