"""The client without `await`, for scripts and notebooks: the same names, arguments and errors.

    with connect("ws://127.0.0.1:8000", client_id="anna", time_zone="Europe/Berlin") as chat:
        print(chat.ask("What time is it?").text)

Each `connect` and `History` runs an event loop in a thread of its own. Functions and iterables that are passed in, such
as `on_change`, are called in that thread. Several threads may use a chat.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Literal, Self, TypeVar, overload
from uuid import UUID

from chat_client import chat as chats
from chat_client import history as histories
from chat_client.asked import Asked as AsyncAsked
from chat_client.changes import Change, State
from chat_client.content import Content
from chat_client.credentials import Token
from chat_client.download import OnBytes
from chat_client.errors import ClientError
from chat_client.history import PAGE
from chat_client.history_records import Arrived, Media, Message, Session, SignedUrl
from chat_client.link import Timing
from chat_client.outgoing import Event, OnSent, Version
from chat_client.retry import Backoff
from frameproto import DEFAULT_MAX_FRAME_BYTES, Response

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread, for the length of a `with` block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Awaitable[T]) -> T:
        """Return what `work` returns. Ctrl-C, and every other exception in the caller's thread, cancels it first."""
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        async def do() -> T:
            return await work

        def begin() -> None:
            tasks.append(self._loop.create_task(do()))
            tasks[0].add_done_callback(lambda task: _copy(task, outcome))

        def end() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(begin)
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                self._loop.call_soon_threadsafe(end)
                wait([outcome])
            raise

    def call(self, do: Callable[[], T]) -> T:
        """Return what a function returns that must be called in the thread of the loop."""

        async def work() -> T:
            return do()

        return self.run(work())

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield the items one by one. A loop that is left ends the work behind them."""
        try:
            while True:
                try:
                    item = self.run(anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                self.run(close())

    @contextmanager
    def entered(self, block: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter and leave an `async with` block."""
        inside = self.run(block.__aenter__())
        try:
            yield inside
        except BaseException as exc:
            if not self.run(block.__aexit__(type(exc), exc, exc.__traceback__)):
                raise
        else:
            self.run(block.__aexit__(None, None, None))


def _copy(task: "asyncio.Task[T]", outcome: "Future[T]") -> None:
    if task.cancelled():
        outcome.set_exception(CancelledError())
    elif (failure := task.exception()) is not None:
        outcome.set_exception(failure)
    else:
        outcome.set_result(task.result())


class Asked:
    """One message on its way. `Chat.send` makes one; iterate over it for what comes."""

    def __init__(self, loop: LoopThread, asked: AsyncAsked) -> None:
        self._loop = loop
        self._asked = asked

    @property
    def id(self) -> UUID:
        """The id of the message, by which history knows it on v2."""
        return self._asked.id

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._asked.done

    def reply(self) -> Response:
        """Wait for the response and return it."""
        return self._loop.run(self._asked.reply())

    def cancel(self) -> None:
        """Take the message back."""
        self._loop.call(self._asked.cancel)

    def __iter__(self) -> Iterator[Event]:
        """Yield the events, each once."""
        return self._loop.iterate(aiter(self._asked))


class Chat:
    """A conversation. `connect` makes one. Its methods are those of `chat_client.Chat`."""

    def __init__(self, loop: LoopThread, chat: chats.Chat) -> None:
        self._loop = loop
        self._chat = chat

    @property
    def session_id(self) -> UUID | None:
        """Names the conversation in history; connect with it again to go on with it."""
        return self._chat.session_id

    @property
    def protocol(self) -> str | None:
        """The subprotocol of the connection that is open, or was the last."""
        return self._chat.protocol

    @property
    def state(self) -> State:
        """What the chat is doing."""
        return self._chat.state

    @property
    def unanswered(self) -> int:
        """How many messages have no answer yet."""
        return self._chat.unanswered

    def send(self, content: Content, *, on_sent: OnSent | None = None) -> Asked:
        """Hand a message over, and go on without waiting for its reply."""
        return Asked(self._loop, self._loop.run(self._chat.send(content, on_sent=on_sent)))

    def ask(self, content: Content, *, on_sent: OnSent | None = None) -> Response:
        """Send a message and return its whole reply."""
        return self._loop.run(self._chat.ask(content, on_sent=on_sent))

    def stream(self, content: Content, *, on_sent: OnSent | None = None) -> Iterator[Event]:
        """Send a message and yield what comes for it, the response as the last."""
        return self._loop.iterate(self._chat.stream(content, on_sent=on_sent))

    @overload
    def ask_many(
        self, contents: Iterable[Content], *, return_exceptions: Literal[False] = False
    ) -> Iterator[Response]: ...

    @overload
    def ask_many(
        self, contents: Iterable[Content], *, return_exceptions: Literal[True]
    ) -> Iterator[Response | ClientError]: ...

    def ask_many(
        self, contents: Iterable[Content], *, return_exceptions: bool = False
    ) -> Iterator[Response | ClientError]:
        """Send many messages and yield their replies in order."""
        replies: AsyncIterator[Response | ClientError]
        if return_exceptions:
            replies = self._chat.ask_many(contents, return_exceptions=True)
        else:
            replies = self._chat.ask_many(contents)
        return self._loop.iterate(replies)

    def round_trip_seconds(self) -> float:
        """Measure how long a ping takes."""
        return self._loop.run(self._chat.round_trip_seconds())


@contextmanager
def connect(
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
) -> Iterator[Chat]:
    """Talk to the chatbot for the length of a `with` block. The arguments are those of `chat_client.connect`."""
    with LoopThread() as loop:
        block = chats.connect(
            address,
            client_id=client_id,
            time_zone=time_zone,
            session_id=session_id,
            token=token,
            on_change=on_change,
            patience_seconds=patience_seconds,
            resend_on_v1=resend_on_v1,
            max_frame_bytes=max_frame_bytes,
            backoff=backoff,
            timing=timing,
            versions=versions,
        )
        with loop.entered(block) as chat:
            yield Chat(loop, chat)


class History:
    """Reads from a history service, and changes what is there. Use it with `with`.

    Its arguments and methods are those of `chat_client.History`.
    """

    def __init__(self, address: str, *, token: Token | None = None, seconds: float = 30.0) -> None:
        self._loop = LoopThread()
        self._history = histories.History(address, token=token, seconds=seconds)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self._loop.run(self._history.__aenter__())
        return self

    def __exit__(self, *why: object) -> None:
        self._loop.run(self._history.__aexit__(*why))
        self._loop.__exit__()

    def sessions(self, client_id: str) -> Iterator[Session]:
        """Yield the sessions of a client, latest first."""
        return self._loop.iterate(self._history.sessions(client_id))

    def session(self, session_id: UUID) -> Session:
        """Return one session."""
        return self._loop.run(self._history.session(session_id))

    def messages(self, session_id: UUID, *, newest: int | None = None) -> Iterator[Message]:
        """Yield the messages of a session, oldest first: all, or the newest so many."""
        return self._loop.iterate(self._history.messages(session_id, newest=newest))

    def messages_after(self, session_id: UUID, message_id: str, *, limit: int = PAGE) -> list[Message]:
        """Return the messages of a session just behind an id, oldest first."""
        return self._loop.run(self._history.messages_after(session_id, message_id, limit=limit))

    def search(self, client_id: str, words: str) -> Iterator[Message]:
        """Yield the messages of a client that hold all words, newest first."""
        return self._loop.iterate(self._history.search(client_id, words))

    def follow(self, session_id: UUID, cursor: str | None = None) -> Arrived:
        """Return the messages of a session that have arrived since the cursor."""
        return self._loop.run(self._history.follow(session_id, cursor))

    def message(self, message_id: str) -> Message:
        """Return one message."""
        return self._loop.run(self._history.message(message_id))

    def address(self, media: Media) -> SignedUrl:
        """Return an address at which a player may read a medium for a while, without a token."""
        return self._loop.run(self._history.address(media))

    def download(self, media: Media, path: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Write a medium into a new file."""
        self._loop.run(self._history.download(media, path, on_bytes=on_bytes))

    def export_lines(self, client_id: str) -> Iterator[bytes]:
        """Yield the lines of an export, with their ends."""
        return self._loop.iterate(self._history.export_lines(client_id))

    def export(self, client_id: str, path: Path) -> None:
        """Write all sessions and messages of a client into a new file, one JSON object a line."""
        self._loop.run(self._history.export(client_id, path))

    def rename(self, session_id: UUID, title: str | None) -> Session:
        """Give a session another title, or none; return it."""
        return self._loop.run(self._history.rename(session_id, title))

    def delete_session(self, session_id: UUID) -> None:
        """Delete a session with its messages and media, for good."""
        self._loop.run(self._history.delete_session(session_id))

    def delete_message(self, message_id: str) -> None:
        """Delete a message with its media, for good."""
        self._loop.run(self._history.delete_message(message_id))

    def erase(self, client_id: str) -> None:
        """Delete everything of a client, for good."""
        self._loop.run(self._history.erase(client_id))
