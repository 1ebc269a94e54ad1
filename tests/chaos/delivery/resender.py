"""Clients that speak v2, and send again what was not answered until it is."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from devtools.watching import PATIENCE_SECONDS
from frameproto import Request, Response
from frameproto.connection import SUBPROTOCOL_V2
from frameproto.v2 import MessageRequest, MessageResponse, decode_server_frame, encode_client_frame
from tests.chaos.delivery.journal import End, Said
from tests.chaos.delivery.talker import BURST, PACE_SECONDS, RETRY_SECONDS, VISIT, Talker
from tests.e2e.talking import visit

CUT_SHARE = 0.12
"""After so many of the bursts the client breaks its own connection before all is answered."""
MOST_ATTEMPTS = 1000


class Broken(Exception):
    """The client broke its connection."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent until it is answered."""

    id: UUID
    request: Request
    said: Said


class Resender(Talker):
    """A talker whose messages have ids: what breaks off is sent again, so each is answered once."""

    _waiting: Sequence[Message] = ()

    async def talk(self) -> None:
        """Come again and again until it is enough, and all is answered."""
        while not self._enough.is_set():
            await self._session(len(self.said), str(uuid4()))

    async def _session(self, start: int, session_id: str) -> None:
        """Say what makes a session, over as many connections as it takes; the judge is told what is never answered."""
        while not await self._connection(start, session_id):
            if any(message.said.attempts >= MOST_ATTEMPTS for message in self._waiting):
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _connection(self, start: int, session_id: str) -> bool:
        """Talk over one connection; say whether that made the session."""
        try:
            async with visit(self._stack, self.name, subprotocol=SUBPROTOCOL_V2, sessionId=session_id) as chat:
                await self._converse(chat, start)
        except ConnectionClosed as exc:
            if exc.rcvd is not None:
                self.complaints.append(f"the connection of {self.name} was closed with {exc.rcvd.code}")
            return False
        except (Broken, InvalidHandshake, OSError):  # its own doing, or a pod that is not there
            return False
        return True

    async def _converse(self, chat: ClientConnection, start: int) -> None:
        opened = time.monotonic()
        await self._send(chat, self._waiting)
        await self._collect(chat, len(self._waiting))
        while len(self.said) - start < VISIT and not self._enough.is_set():
            burst = [self._think(opened) for _ in range(self._chance.randint(1, BURST))]
            self._waiting = [Message(uuid4(), request, said) for said, request in burst]
            for message in self._waiting:
                message.said.attempts = 0
            await self._send(chat, self._waiting)
            if self._chance.random() < CUT_SHARE:
                await self._collect(chat, self._chance.randrange(len(burst)))
                chat.transport.abort()
                raise Broken
            await self._collect(chat, len(burst))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), PACE_SECONDS)
            await self._may_speak.wait()

    async def _send(self, chat: ClientConnection, messages: Sequence[Message]) -> None:
        for message in messages:
            again, message.said.attempts = message.said.attempts > 0, message.said.attempts + 1
            await chat.send(encode_client_frame(MessageRequest(message.id, message.request, again=again)))

    async def _collect(self, chat: ClientConnection, count: int) -> None:
        """Take the responses to the first messages that wait, in their order. What was not kept is sent again."""
        for message in self._waiting[:count]:
            answered, response = await _next_response(chat)
            if answered != message.id:
                self.complaints.append(f"{message.said}: {answered} was answered instead of {message.id}")
                raise Broken
            self._take(message.said, response)
            if message.said.end is End.REFUSED:
                message.said.end = End.WAITS
                raise Broken
            self._waiting = [other for other in self._waiting if other is not message]


async def _next_response(chat: ClientConnection) -> tuple[UUID, Response]:
    """Return the next response and its message; pieces and statuses are passed over."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            frame = await chat.recv()
            assert isinstance(frame, bytes)
            told = decode_server_frame(frame, max_bytes=1 << 26)
            if isinstance(told, MessageResponse):
                return told.message_id, told.response
