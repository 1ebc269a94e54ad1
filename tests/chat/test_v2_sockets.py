"""`chatbot.v2` over real sockets, with a bot that streams."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from botkit import BotError, Memory, Turn
from chat_service.bot.script import parse_script
from chat_service.bot.scripted import ScriptedBot
from chat_service.metrics import ChatMetrics
from frameproto import Request, RequestKind, Response, ResponseKind, decode_response, encode_request
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from frameproto.v2 import (
    Cancel,
    MessageRequest,
    MessageResponse,
    Piece,
    Progress,
    ServerFrame,
    Status,
    decode_server_frame,
    encode_client_frame,
)
from tests.chat.conversation_parts import limits, run_bot
from tests.chat.server_parts import RunningServer, open_server

WORDS = 500
HANDS_OVER = """
name = "Half"
[greetings]
"00:00" = "Hello"
[[rule]]
name = "all"
bot = "llm"
say = "I cannot think."
[[rule]]
name = "voice"
kind = "voice"
say = "voice"
[[rule]]
name = "video"
kind = "video"
say = "video"
"""


class Streamer:
    """Says so many words, and waits in the middle until it is told to go on."""

    def __init__(self, *, breaks_off: bool = False) -> None:
        self._breaks_off = breaks_off
        self.go_on = asyncio.Event()
        self.stopped = asyncio.Event()

    async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
        del memory
        try:
            for number in range(WORDS):
                await asyncio.sleep(0)
                if number == WORDS // 2 and turn.text != "all":
                    await self.go_on.wait()
                    if self._breaks_off:
                        raise BotError("broke off", retryable=True)
                yield f"{number} "
        except asyncio.CancelledError:
            self.stopped.set()
            raise


def visit(server: RunningServer, *offered: str) -> connect:
    return connect(server.url(), compression=None, subprotocols=[Subprotocol(name) for name in offered] or None)


async def ask(connection: ClientConnection, text: str, message_id: UUID | None = None) -> UUID:
    message_id = message_id or uuid4()
    request = Request(RequestKind.TEXT, text.encode())
    await connection.send(encode_client_frame(MessageRequest(message_id, request)))
    return message_id


async def hear(connection: ClientConnection) -> ServerFrame:
    async with asyncio.timeout(60):
        frame = await connection.recv()
    assert isinstance(frame, bytes)
    return decode_server_frame(frame)


async def hear_all(connection: ClientConnection) -> list[ServerFrame]:
    """Read up to the next response."""
    frames = [await hear(connection)]
    while not isinstance(frames[-1], MessageResponse):
        frames.append(await hear(connection))
    return frames


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        ([SUBPROTOCOL_V2], SUBPROTOCOL_V2),
        ([SUBPROTOCOL_V2, SUBPROTOCOL_V1], SUBPROTOCOL_V2),
        ([SUBPROTOCOL_V1, SUBPROTOCOL_V2], SUBPROTOCOL_V2),
        ([SUBPROTOCOL_V1, SUBPROTOCOL_V2, "bearer.token"], SUBPROTOCOL_V2),
        (["bearer.token", SUBPROTOCOL_V2], SUBPROTOCOL_V2),
        ([SUBPROTOCOL_V1], SUBPROTOCOL_V1),
        ([SUBPROTOCOL_V1, "bearer.token"], SUBPROTOCOL_V1),
        (["chatbot.v3", SUBPROTOCOL_V1], SUBPROTOCOL_V1),
        (["chatbot.v3"], None),
        ([], None),
    ],
)
async def test_the_newest_protocol_that_both_speak_is_spoken(offered: Sequence[str], spoken: str | None) -> None:
    async with open_server() as server, visit(server, *offered) as connection:
        assert connection.subprotocol == spoken
        if spoken == SUBPROTOCOL_V2:
            message = await ask(connection, "hello")
            assert (await hear_all(connection))[-1] == MessageResponse(
                message, Response(ResponseKind.TEXT, "you said hello")
            )
        else:
            await connection.send(encode_request(Request(RequestKind.TEXT, b"hello")))
            reply = await connection.recv()
            assert isinstance(reply, bytes)
            assert decode_response(reply).text == "you said hello"


async def test_a_reply_is_read_while_it_grows() -> None:
    bot = Streamer()
    async with open_server(replies=bot) as server, visit(server, SUBPROTOCOL_V2) as connection:
        message = await ask(connection, "half")
        begun = [await hear(connection)]
        while not (isinstance(begun[-1], Piece) and begun[-1].text.endswith(f"{WORDS // 2 - 1} ")):
            begun.append(await hear(connection))
        assert begun[0] == Status(message, Progress.THINKING)
        assert server.outbox.kept == []
        bot.go_on.set()
        frames = begun + await hear_all(connection)
        pieces = "".join(frame.text for frame in frames if isinstance(frame, Piece))
        whole = "".join(f"{number} " for number in range(WORDS))
        assert pieces == whole
        assert frames[-1] == MessageResponse(message, Response(ResponseKind.TEXT, whole))


@pytest.mark.parametrize("breaks_off", [False, True])
async def test_a_reply_that_a_script_hands_over_grows(breaks_off: bool) -> None:
    other = Streamer(breaks_off=breaks_off)
    script = ScriptedBot(parse_script(HANDS_OVER), {"llm": run_bot(other, ChatMetrics())})
    async with open_server(replies=script) as server, visit(server, SUBPROTOCOL_V2) as connection:
        message = await ask(connection, "half")
        shown = ""
        while not shown.endswith(f"{WORDS // 2 - 1} "):
            frame = await hear(connection)
            shown += frame.text if isinstance(frame, Piece) else ""
        other.go_on.set()
        frames = await hear_all(connection)
        shown += "".join(frame.text for frame in frames if isinstance(frame, Piece))
        said = "".join(f"{number} " for number in range(WORDS))
        assert shown == (said[: len(shown)] if breaks_off else said)
        response = Response(ResponseKind.TEXT, "I cannot think." if breaks_off else said)
        assert frames[-1] == MessageResponse(message, response)
        (kept,) = server.outbox.kept
        assert decode_response(kept.response) == response


async def test_cancelling_a_reply_that_grows() -> None:
    bot = Streamer()
    async with (
        open_server(replies=bot, changed=limits(window=1)) as server,
        visit(server, SUBPROTOCOL_V2) as connection,
    ):
        message = await ask(connection, "half")
        shown = ""
        while not shown.endswith(f"{WORDS // 2 - 1} "):
            frame = await hear(connection)
            shown += frame.text if isinstance(frame, Piece) else ""
        await connection.send(encode_client_frame(Cancel(message)))
        response = (await hear_all(connection))[-1]
        assert isinstance(response, MessageResponse)
        assert (response.message_id, response.response.error_code) == (message, "cancelled")
        await asyncio.wait_for(bot.stopped.wait(), 60)
        (kept,) = server.outbox.kept
        assert (decode_response(kept.response).text, kept.message_id) == (shown, message)


async def test_a_reader_that_is_slow_gets_the_rest_joined() -> None:
    bot = Streamer()
    async with (
        open_server(replies=bot, changed=limits(send_seconds=60)) as server,
        connect(server.url(), compression=None, subprotocols=[Subprotocol(SUBPROTOCOL_V2)], max_queue=1) as connection,
    ):
        messages = [await ask(connection, "all") for _ in range(5)]
        frames: list[ServerFrame] = []
        for _ in messages:
            frames += await hear_all(connection)
        assert [frame.message_id for frame in frames if isinstance(frame, MessageResponse)] == messages
        for message in messages:
            of_this = [frame for frame in frames if frame.message_id == message]
            *_, response = of_this
            pieces = [frame.text for frame in of_this if isinstance(frame, Piece)]
            assert isinstance(response, MessageResponse)
            assert response.response.text.startswith("".join(pieces))
