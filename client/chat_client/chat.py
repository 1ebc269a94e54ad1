"""One conversation: messages out, replies back, over as many connections as it takes."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal, overload
from uuid import UUID

from chat_client.address import connect_address
from chat_client.asked import Asked
from chat_client.changes import Change, State
from chat_client.connection import ChatConnection
from chat_client.content import Content, read_content
from chat_client.credentials import Token, TokenSource
from chat_client.errors import ClientError, ConnectionLost, Unanswered
from chat_client.link import ConnectTarget, Timing
from chat_client.outgoing import Event, OnSent, OutgoingMessage, OutgoingMessages, Version
from chat_client.retry import Attempts, Backoff
from frameproto import DEFAULT_MAX_FRAME_BYTES, Response
from frameproto.connection import CloseCode

WINDOW: Final = 10
"""How many messages are on their way at once: what servers work on at once by default."""


class Chat:
    """A conversation. `connect` makes one."""

    def __init__(self, connection: ChatConnection, max_frame_bytes: int) -> None:
        self._connection = connection
        self._pending = connection.pending
        self._max_frame_bytes = max_frame_bytes

    @property
    def session_id(self) -> UUID | None:
        """Names the conversation in history; connect with it again to go on with it."""
        return self._connection.session_id

    @property
    def protocol(self) -> str | None:
        """The subprotocol of the connection that is open, or was the last."""
        return self._connection.version

    @property
    def state(self) -> State:
        """What the chat is doing."""
        return self._connection.state

    @property
    def unanswered(self) -> int:
        """How many messages have no answer yet."""
        return len(self._pending)

    async def send(self, content: Content, *, on_sent: OnSent | None = None) -> Asked:
        """Hand a message over, to be sent as soon as there is a connection and room.

        Messages are sent in the order of the calls, as far as their content is at hand; what is read from files and
        streams comes behind what was handed over meanwhile.

        Args:
            content: a text, or what `voice` or `video` returns.
            on_sent: told how much has gone out.

        Raises:
            MessageInvalid: it is empty, too large, or a text that is not UTF-8.
            FileError: a file cannot be read.
            Unanswered: the conversation is over.
        """
        request = await read_content(content, self._max_frame_bytes)
        asked = Asked(request, on_sent, self._take_back)
        if self._connection.state is State.ENDED:
            why = self._connection.why or ConnectionLost(CloseCode.GOODBYE)
            raise Unanswered(why, asked.id, maybe_answered=False)
        self._pending.add(asked.message)
        self._connection.wake()
        return asked

    async def ask(self, content: Content, *, on_sent: OnSent | None = None) -> Response:
        """Send a message and return its whole reply. A call that is cancelled takes the message back.

        Args:
            content: a text, or what `voice` or `video` returns.
            on_sent: told how much has gone out.

        Raises:
            MessageFailed: the bot answered with an error.
            Unanswered: there is no connection, and it does not come back.
            MessageInvalid: it is empty, too large, or a text that is not UTF-8.
            FileError: a file cannot be read.
        """
        asked = await self.send(content, on_sent=on_sent)
        try:
            return await asked.reply()
        finally:
            self._abandon(asked)

    async def stream(self, content: Content, *, on_sent: OnSent | None = None) -> AsyncGenerator[Event, None]:
        """Send a message and yield what comes for it: statuses, pieces of the reply, and the response as the last.

        A loop that is left takes the message back.

        Raises:
            ClientError: as `ask` does.
        """
        asked = await self.send(content, on_sent=on_sent)
        try:
            async for event in asked:
                yield event
        finally:
            self._abandon(asked)

    @overload
    def ask_many(
        self, contents: Iterable[Content] | AsyncIterable[Content], *, return_exceptions: Literal[False] = False
    ) -> AsyncGenerator[Response, None]: ...

    @overload
    def ask_many(
        self, contents: Iterable[Content] | AsyncIterable[Content], *, return_exceptions: Literal[True]
    ) -> AsyncGenerator[Response | ClientError, None]: ...

    async def ask_many(
        self, contents: Iterable[Content] | AsyncIterable[Content], *, return_exceptions: bool = False
    ) -> AsyncGenerator[Response | ClientError, None]:
        """Send many messages and yield their replies in order. A few are on their way at once, so memory is bounded.

        Args:
            contents: taken one by one, as they are sent.
            return_exceptions: yield the exception of a failed message instead of its reply, and go on.

        Raises:
            ClientError: as `ask` does.
        """
        waiting: deque[Asked | ClientError] = deque()
        try:
            async for content in _each(contents):
                if len(waiting) >= WINDOW:
                    yield await _outcome(waiting.popleft(), return_exceptions=return_exceptions)
                try:
                    waiting.append(await self.send(content))
                except ClientError as exc:
                    waiting.append(exc)
            while waiting:
                yield await _outcome(waiting.popleft(), return_exceptions=return_exceptions)
        finally:
            for asked in waiting:
                if isinstance(asked, Asked):
                    self._abandon(asked)

    async def round_trip_seconds(self) -> float:
        """Measure how long a ping takes.

        Raises:
            ClientError: there is no connection.
        """
        link = self._connection.link
        if link is None:
            raise self._connection.why or ConnectionLost(CloseCode.ABNORMAL)
        return await link.round_trip_seconds()

    def _take_back(self, message: OutgoingMessage) -> None:
        self._pending.cancel(message)
        self._connection.wake()

    def _abandon(self, asked: Asked) -> None:
        if not asked.done:
            self._pending.abandon(asked.message)
            self._connection.wake()


async def _each(contents: Iterable[Content] | AsyncIterable[Content]) -> AsyncIterator[Content]:
    if isinstance(contents, AsyncIterable):
        async for content in contents:
            yield content
    else:
        for content in contents:
            yield content


async def _outcome(asked: Asked | ClientError, *, return_exceptions: bool) -> Response | ClientError:
    try:
        if isinstance(asked, ClientError):
            raise asked
        return await asked.reply()
    except ClientError as exc:
        if not return_exceptions:
            raise
        return exc


@asynccontextmanager
async def connect(
    address: str,
    *,
    client_id: str,
    time_zone: str,
    session_id: UUID | None = None,
    token: Token | None = None,
    on_change: Callable[[Change], None] | None = None,
    patience_seconds: float = 120.0,
    resend_on_v1: bool = False,
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    backoff: Backoff | None = None,
    timing: Timing | None = None,
    versions: Sequence[Version] = (Version.V2, Version.V1),
) -> AsyncIterator[Chat]:
    """Talk to the chatbot for the length of an `async with` block. The connection comes back by itself.

    Args:
        address: `ws://host:port`, `wss://…`, or the same with http.
        client_id: who talks.
        time_zone: where the client is: a name such as Europe/Berlin, or an offset such as +07:00.
        session_id: the session to go on with; a new one by default.
        token: shown to the server, where it asks for one; a function is called for a fresh one when that is needed.
        on_change: told what becomes of the connection. What it raises ends the conversation, and leaves the block.
        patience_seconds: how long to try to connect before messages fail; 0: once.
        resend_on_v1: over v1, send again what was on its way at a break, though it may have been answered.
        max_frame_bytes: the largest message that the server takes.
        backoff: the pauses between attempts.
        timing: how patient each connection is.
        versions: of the protocol that may be spoken, the best first.

    Raises:
        Refused: the server did not let us in, and said why.
        Unreachable: there is no server, or it does not answer.
    """
    tokens = TokenSource(token)
    connection = ChatConnection(
        target=ConnectTarget(url=connect_address(address), client_id=client_id, time_zone=time_zone),
        session_id=session_id,
        tokens=tokens,
        attempts=Attempts(backoff or Backoff(), patience_seconds, can_refresh=tokens.can_refresh),
        pending=OutgoingMessages(window=WINDOW, resend_on_v1=resend_on_v1),
        timing=timing or Timing(),
        versions=versions,
        on_change=on_change or _ignore,
    )
    running = asyncio.create_task(connection.run(), name="keep connected")
    opening = asyncio.create_task(connection.opened(), name="wait for the connection")
    try:
        await asyncio.wait({running, opening}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            await running  # raises the reason why there is none
        yield Chat(connection, max_frame_bytes)
    finally:
        opening.cancel()
        running.cancel()
        await asyncio.wait({running, opening})
    if not running.cancelled():
        running.result()


def _ignore(change: Change) -> None:
    """The default of `on_change`."""
