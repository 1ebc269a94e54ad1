"""The connection of a chat: opened, kept, and opened again for as long as that may help."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from chat_client.changes import STATE_AFTER, Change, Connected, Connecting, Ended, Idle, Lost, Retrying, State
from chat_client.credentials import TokenSource
from chat_client.errors import ClientError, ConnectionLost, WrongAnswer
from chat_client.link import ConnectTarget, Link, Timing, open_link
from chat_client.outgoing import OutgoingMessages, Version
from chat_client.retry import Again, Attempts, Stop
from chat_client.waiting import watch_place
from frameproto.connection import CloseCode

STEADY_SECONDS: Final = 10.0
"""A connection that lived for so long without anything to do was of use."""


@dataclass(slots=True, kw_only=True)
class ChatConnection:
    """Keeps a chat connected.

    Attributes:
        target: whom to connect to.
        session_id: to go on with; the one that the server names from the first connection on.
        tokens: what is shown to the server.
        attempts: decides whether and when to connect again.
        pending: what is to be sent.
        timing: of each connection.
        versions: of the protocol, the best first.
        on_change: told what becomes of the connection.
        state: what it is doing.
        version: of the connection that is open, or was the last.
        link: the open connection.
        why: what ended the last connection or attempt.
    """

    target: ConnectTarget
    session_id: UUID | None
    tokens: TokenSource
    attempts: Attempts
    pending: OutgoingMessages
    timing: Timing
    versions: Sequence[Version]
    on_change: Callable[[Change], None]
    state: State = State.CONNECTING
    version: Version | None = None
    link: Link | None = None
    why: ClientError | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _wait_id: str | None = None
    _waiting_since: float = 0.0

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    async def opened(self) -> None:
        """Return once there was a connection."""
        await self._opened.wait()

    async def run(self) -> None:
        """Connect, and connect again, until that is of no use any more.

        Raises:
            ClientError: there never was a connection, and why.
        """
        end = ClientError("the client itself failed")
        try:
            end = await self._run()
        except asyncio.CancelledError:
            end = ConnectionLost(CloseCode.GOODBYE)
            raise
        finally:
            self.why, self.state = end, State.ENDED
            self.pending.fail_all(end)
        self.on_change(Ended(end))
        if not self._opened.is_set():
            raise end

    async def _run(self) -> ClientError:
        while True:
            self.why = why = await self._attempt()
            step = self.attempts.after(why, time.monotonic(), has_work=len(self.pending) > 0)
            if isinstance(step, Again):
                if step.fresh_token:
                    self.tokens.discard()
                self._change(Retrying(why, step.seconds, self.attempts.failures + 1))
                await asyncio.sleep(step.seconds)
            elif step is Stop.NEVER or not self._opened.is_set():
                return why
            else:
                self.pending.fail_all(why)
                self.attempts.made_progress()
                self._change(Idle(why))
                self._wait_id = None
                self._wake.clear()
                await self._wake.wait()

    async def _attempt(self) -> ClientError:
        """Connect and talk; return what ended that."""
        self._change(Connecting(self.attempts.failures + 1))
        try:
            self.link = link = await self._open()
        except ClientError as exc:
            return exc
        self._wait_id = None
        self.session_id = link.session_id or self.session_id
        self.version = link.version
        self.attempts.connected()
        self.pending.opened(link.version)
        self._change(Connected(self.session_id, link.version, again=self._opened.is_set()))
        self._opened.set()
        began = time.monotonic()
        try:
            why = await self._talk(link)
        finally:
            self.link = None
        self.pending.lost(why)
        if not len(self.pending) and time.monotonic() - began > STEADY_SECONDS:
            self.attempts.made_progress()
        self._change(Lost(why))
        return why

    async def _open(self) -> Link:
        """Do the handshake; tell the place in the queue while it waits.

        Raises:
            ClientError: there is no connection.
        """
        if self._wait_id is None:
            self._wait_id, self._waiting_since = str(uuid4()), time.monotonic()
        token = await self.tokens.current()
        url = self.target.url_for(self.session_id, self._wait_id)
        watching = asyncio.create_task(
            watch_place(url, token, lambda: time.monotonic() - self._waiting_since, self._change), name="watch place"
        )
        try:
            return await open_link(url, token, self.versions, self.timing)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            if not watching.cancelled():
                watching.result()  # what `on_change` raised

    async def _talk(self, link: Link) -> ClientError:
        """Send and receive until the connection ends; return why it did."""
        sending = asyncio.create_task(self._send(link), name="send messages")
        code = CloseCode.GOODBYE
        try:
            while True:
                if self.pending.receive(await link.receive()):
                    self.attempts.made_progress()
                    self._wake.set()  # there is room in the window
        except WrongAnswer as exc:
            code = CloseCode.PROTOCOL_ERROR
            return exc
        except ClientError as exc:
            return exc
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            await link.close(code)

    async def _send(self, link: Link) -> None:
        """Send what is to be sent, each frame whole, until the connection ends."""
        try:
            while True:
                while (outgoing := self.pending.next_frame()) is not None:
                    fault = await link.send(outgoing)
                    if fault is not None and outgoing.message is not None:
                        self.pending.fail(outgoing.message, fault)
                self._wake.clear()
                await self._wake.wait()
        except ClientError:
            return  # the receiver knows why

    def _change(self, change: Change) -> None:
        self.state = STATE_AFTER[type(change)]
        self.on_change(change)
