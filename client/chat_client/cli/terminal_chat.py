"""The connection of a conversation at the prompt: its messages, their replies, and changes of its state."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, assert_never
from uuid import UUID

from rich.console import Console
from rich.markup import escape

from chat_client.asked import Asked
from chat_client.changes import Change, Connected, Connecting, Ended, Idle, Lost, Retrying, State, Waiting
from chat_client.chat import Chat, connect
from chat_client.cli.advice import advised, misdirected
from chat_client.cli.output import complain, notes, printable, size_of
from chat_client.cli.working import Working
from chat_client.content import Upload
from chat_client.errors import ClientError, ConnectionLost, MessageFailed
from chat_client.link import Timing
from chat_client.outgoing import CANCELLED, Restarted, Version
from frameproto import Response, ResponseKind
from frameproto.v2 import Piece, Progress, Status

DOING: Final = {
    Progress.WAITING: "waiting for its turn",
    Progress.LISTENING: "the bot listens",
    Progress.THINKING: "the bot thinks",
    Progress.SPEAKING: "the bot speaks",
}
WATCHED_BYTES: Final = 256 * 1024
"""From this size on an upload takes long enough to be watched."""

TAKE_BACK_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectOptions:
    """What the command line says."""

    url: str
    client_id: str
    time_zone: str
    session: str | None
    token: str | None
    save_to: Path
    max_bytes: int
    ping_seconds: float = 20.0
    history_url: str | None = None
    as_json: bool


@dataclass(slots=True)
class Delivery:
    """How far a message is."""

    name: str
    done: int = 0
    size: int = 0
    doing: str = "waiting for the answer"

    def sent(self, done: int, size: int) -> None:
        """Take down how much has gone out."""
        self.done, self.size = done, size

    def describe(self) -> str:
        """Return what is being done for the message."""
        if self.done < self.size and self.size >= WATCHED_BYTES:
            return f"sending {self.name}, {size_of(self.done)} of {size_of(self.size)}"
        return self.doing


class TerminalChat:
    """Talks to the chatbot, over as many connections and sessions as it takes.

    Args:
        options: of the command line.
        patience_seconds: how long to try to connect before messages fail; 0: once.
        greets: say that there is a connection.
    """

    def __init__(self, options: ConnectOptions, *, patience_seconds: float, greets: bool) -> None:
        self._options = options
        self._patience_seconds = patience_seconds
        self._greets = greets
        self._chat: Chat | None = None
        self._connection = AsyncExitStack()
        self._situation = ""
        self._since = 0.0
        self._lost: ClientError | None = None
        self._asking = False
        self._console: Console | None = None
        self._told_place = False
        self.session_id: UUID | None = None

    async def open(self) -> Chat:
        """Return the chat; make one where there is none, or where it has ended for good.

        Raises:
            ClientError: we are not let in, or there is no server.
        """
        if self._chat is not None and self._chat.state is not State.ENDED:
            return self._chat
        again = self._chat is not None
        await self.leave()
        options = self._options
        try:
            with Working(lambda: self._describe("connecting")):
                chat = await self._connection.enter_async_context(
                    connect(
                        options.url,
                        client_id=options.client_id,
                        time_zone=options.time_zone,
                        session_id=self.session_id,
                        token=options.token,
                        on_change=self._note,
                        patience_seconds=self._patience_seconds,
                        max_frame_bytes=options.max_bytes,
                        timing=Timing(ping_seconds=options.ping_seconds),
                    )
                )
        except ClientError as exc:
            raise await asyncio.to_thread(misdirected, exc, options.url) from exc
        finally:
            self._situation, self._since = "", 0.0
        if self._greets:
            await self._greet(chat, again=again)
        self._chat = chat
        return chat

    async def go_to(self, session_id: UUID | None) -> None:
        """Go on with another session, or begin a new one.

        Raises:
            ClientError: we are not let in, or there is no server.
        """
        await self.leave()
        self.session_id = session_id
        await self.open()

    async def leave(self) -> None:
        """End the connection, if there is one."""
        self._chat, connection, self._connection = None, self._connection, AsyncExitStack()
        with suppress(ClientError):  # the reason was shown when it ended
            await connection.aclose()

    async def say(
        self, content: Upload, name: str, interrupted: "asyncio.Future[None] | None" = None
    ) -> Response | None:
        """Send a message and return the response, which may be an error; meanwhile, show how it goes.

        Args:
            content: the message.
            name: what it is called while it is on its way.
            interrupted: done when the message is to be taken back. The response is then the error `cancelled`, or the
                reply that was faster; None: no word of it came in time, or the server does not know of taking back.

        Raises:
            ClientError: it cannot be sent, or has no answer.
        """
        chat = await self.open()
        delivery = Delivery(name)
        self._asking = True
        try:
            asked = await chat.send(content, on_sent=delivery.sent)
            with Working(lambda: self._describe(delivery.describe())) as working:
                self._console = working.console
                following = asyncio.create_task(_follow(asked, delivery, working))
                either: set[asyncio.Future[Any]] = {following} if interrupted is None else {following, interrupted}
                try:
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        delivery.doing = "taking the message back"
                        asked.cancel()
                        await asyncio.wait({following}, timeout=TAKE_BACK_SECONDS)
                    return _outcome(following.result(), chat) if following.done() else None
                finally:
                    following.cancel()
        finally:
            self._asking, self._console = False, None

    def _describe(self, doing: str) -> str:
        """Return the current activity: that of the connection before that of the message."""
        waiting = f", {time.monotonic() - self._since:.0f} s" if self._since else ""
        return f"{self._situation}{waiting}" if self._situation else doing

    async def _greet(self, chat: Chat, *, again: bool) -> None:
        if again:
            notes().print("[green]connected again[/]")
            return
        took = ""
        with suppress(ClientError):  # changes of the connection are shown elsewhere
            took = f", round trip {await chat.round_trip_seconds() * 1000:.1f} ms"
        who = f"[bold]{escape(self._options.client_id)}[/] ({escape(self._options.time_zone)})"
        notes().print(f"[green]connected[/] as {who}{took}")

    def _note(self, change: Change) -> None:
        """Record changes of the connection, and print those that a person would miss."""
        match change:
            case Connecting(attempt):
                self._situation = self._situation if attempt > 1 else ""
                self._since = 0.0
            case Waiting(place, seconds, learning_seconds):
                where, why = f"place {place} in the queue", "all slots are taken"
                if learning_seconds is not None:
                    why = f"the server is recovering its limits, for {learning_seconds:.0f} s more at most"
                self._situation = where if learning_seconds is None else f"{why}; {where}"
                self._since = time.monotonic() - seconds if learning_seconds is None else 0.0
                if not self._told_place and not notes().is_terminal:
                    notes().print(f"{why}; {where}")
                self._told_place = True
            case Connected(session_id, again=again):
                self.session_id = session_id or self.session_id
                self._situation, self._since, self._lost, self._told_place = "", 0.0, None, False
                if again:
                    (self._console or notes()).print("[green]connected again[/]")
            case Lost(why):
                self._lost = why
            case Retrying(why, seconds):
                when = f"next attempt in {seconds:.0f} s" if seconds >= 1 else "connecting again"
                self._situation, self._since = f"{why}; {when}", 0.0
                self._tell_loss("connecting again")
            case Idle() | Ended():
                self._situation, self._since = "", 0.0
                self._lost = change.why
                comes_again = not isinstance(change.why, ConnectionLost) or change.why.may_reconnect
                self._tell_loss("your next message connects again" if comes_again else "")
            case _:
                assert_never(change)

    def _tell_loss(self, what_next: str) -> None:
        """Print once that the connection ended, unless a message waits, whose error is shown instead."""
        if self._lost is not None and not self._asking and self._chat is not None:
            complain(f"{printable(str(self._lost))}; {what_next}" if what_next else advised(self._lost))
        self._lost = None


async def _follow(asked: Asked, delivery: Delivery, working: Working) -> Response:
    """Show what comes for a message, and return the response."""
    try:
        async for event in asked:
            match event:
                case Response():
                    return event
                case Piece():
                    working.text += event.text
                case Status():
                    delivery.doing = DOING[event.progress]
                case Restarted():
                    working.text = ""
                case _:
                    assert_never(event)
    except MessageFailed as exc:
        return exc.response
    raise AssertionError("the last event is the response")


def is_cancelled(response: Response) -> bool:
    """Say whether this is what comes for a message that was taken back."""
    return response.kind is ResponseKind.ERROR and response.error_code == CANCELLED


def _outcome(response: Response, chat: Chat) -> Response | None:
    """Return a response; over v1 a message cannot be taken back, so its answer goes to history only."""
    return None if is_cancelled(response) and chat.protocol == Version.V1 else response
