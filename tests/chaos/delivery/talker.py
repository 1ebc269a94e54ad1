"""Clients that talk all the time, and write down what they said and saw."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from devtools.stack import Stack
from frameproto import Request, RequestKind, Response, ResponseKind, encode_request
from tests.chaos.delivery.journal import NO_CLOSE_FRAME, End, Said, digest
from tests.e2e.talking import VIDEO, VOICE, reply, visit

VISIT = 40
"""So many requests make a session, at most; then the client comes again, wherever the balancer sends it."""
BURST = 3
PACE_SECONDS = 0.2
RETRY_SECONDS = 0.1
KEPT_ERRORS = {"internal", "media_failed"}
"""Errors that are answers, and kept as such; after any other, nothing is kept."""


class Talker:
    """One client.

    Attributes:
        name: its client id.
        said: all that it ever said.
        answers: how many of it were answered.
        complaints: what it was answered against the protocol.
    """

    def __init__(self, stack: Stack, name: str, seed: str) -> None:
        self.said: list[Said] = []
        self.answers = 0
        self.complaints: list[str] = []
        self._stack = stack
        self.name = name
        self._chance = random.Random(f"{seed} {name}")
        self._enough = asyncio.Event()
        self._may_speak = asyncio.Event()
        self._may_speak.set()

    @property
    def refusals(self) -> list[str]:
        """The codes of all errors so far."""
        return [said.code for said in self.said if said.end is End.REFUSED]

    def finish(self) -> None:
        """Say no more; what was said is still to be answered."""
        self._enough.set()
        self._may_speak.set()

    def pause(self) -> None:
        """Say nothing new until `go_on`."""
        self._may_speak.clear()

    def go_on(self) -> None:
        """Talk as before."""
        self._may_speak.set()

    async def talk(self) -> None:
        """Come again and again until it is enough."""
        while not self._enough.is_set():
            start = len(self.said)
            try:
                async with visit(self._stack, self.name) as chat:
                    await self._visit(chat, time.monotonic())
            except ConnectionClosed as exc:
                self._cut(self.said[start:], exc.rcvd.code if exc.rcvd else NO_CLOSE_FRAME)
            except (InvalidHandshake, OSError):  # a client whose time-out is over leaves what it waits for unanswered
                pass
            await asyncio.sleep(RETRY_SECONDS)

    def _cut(self, visit: Sequence[Said], close_code: int) -> None:
        now = time.monotonic()
        for said in visit:
            if said.end is End.WAITS:
                said.end, said.ended, said.close_code = End.CUT, now, close_code

    async def _visit(self, chat: ClientConnection, opened: float) -> None:
        start = len(self.said)
        while len(self.said) - start < VISIT and not self._enough.is_set():
            burst = [await self._say(chat, opened) for _ in range(self._chance.randint(1, BURST))]
            for said in burst:
                self._take(said, await reply(chat))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._enough.wait(), PACE_SECONDS)
            await self._may_speak.wait()

    async def _say(self, chat: ClientConnection, opened: float) -> Said:
        said, request = self._think(opened)
        await chat.send(encode_request(request))
        return said

    def _think(self, opened: float) -> tuple[Said, Request]:
        """Return what is said next, written down."""
        number = len(self.said)
        request = self._request(number)
        name = digest(request.kind.name.lower(), request.body)
        said = Said(self.name, number, name, time.monotonic(), opened=opened)
        self.said.append(said)
        return said, request

    def _request(self, number: int) -> Request:
        """Return something that was never said before."""
        mark = f"{self.name} {number} ".encode().ljust(125, b".")
        chance = self._chance.random()
        if chance < 0.06:
            return Request(RequestKind.VIDEO, VIDEO + (8 + len(mark)).to_bytes(4) + b"free" + mark)
        if chance < 0.2:
            return Request(RequestKind.VOICE, VOICE + b"TAG" + mark)
        return Request(RequestKind.TEXT, b"say " + mark)

    def _take(self, said: Said, response: Response) -> None:
        said.ended = time.monotonic()
        code = response.text.partition(":")[0]
        if response.kind is ResponseKind.ERROR and code not in KEPT_ERRORS:
            said.end, said.code = End.REFUSED, code
            return
        said.end = End.ANSWERED
        said.reply = digest(response.kind.name.lower(), response.text.encode(), response.voice, response.image)
        self.answers += 1
