"""Where the lines of a conversation come from: a person at a terminal, or a pipe."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import Final, Protocol

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from chat_client.cli.lines import Command

TAKE_FILES: Final = frozenset({"/voice", "/video", "/save", "1", "2"})
READ_BYTES: Final = 64 * 1024


class Prompts(Protocol):
    """Asks for lines.

    Attributes:
        attended: whether somebody is there who sees what went wrong, and decides what to do about it.
    """

    attended: bool

    async def line(self, question: str) -> str | None:
        """Return a line of text; None when there are no more."""

    async def path(self, question: str) -> str | None:
        """Return the name of a file; None when there are no more."""

    def offer(self, line: str) -> None:
        """Put a line into the next question, to be sent or changed."""

    def interruptible(self) -> "AbstractContextManager[asyncio.Future[None]]":
        """Give a future that is done when Ctrl-C is pressed within a `with` block."""

    def speaking(self) -> AbstractContextManager[None]:
        """Let other output appear above the question for the length of a `with` block."""


class Interrupted(Exception):
    """Ctrl-C was pressed at a question."""


class _LineCompleter(Completer):
    """Completes commands, and names of files behind those that take one."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the cursor."""
        text = document.text_before_cursor
        word, space, rest = text.partition(" ")
        if not space and word.startswith("/"):
            for command in Command:
                if command.startswith(word[1:]):
                    yield Completion(f"/{command} ", start_position=-len(word))
        elif word in TAKE_FILES:
            yield from self._paths.get_completions(Document(rest, len(rest)), complete_event)


class Terminal:
    """Asks a person, who can edit, call earlier lines back, and complete names of files with Tab."""

    attended = True

    def __init__(self) -> None:
        self._offered = ""
        self._lines: PromptSession[str] = PromptSession(
            history=lines_of_earlier_runs(), completer=_LineCompleter(), complete_while_typing=False
        )
        self._paths: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), completer=PathCompleter(expanduser=True), complete_while_typing=False
        )

    async def line(self, question: str) -> str | None:
        """Ask for a line; Ctrl-D means that there are no more.

        Raises:
            Interrupted: Ctrl-C was pressed.
        """
        offered, self._offered = self._offered, ""
        return await self._ask(self._lines, question, offered)

    async def path(self, question: str) -> str | None:
        """Ask for the name of a file."""
        return await self._ask(self._paths, question)

    def speaking(self) -> AbstractContextManager[None]:
        """Let other output appear above the question."""
        return patch_stdout(raw=True)

    def offer(self, line: str) -> None:
        """Put a line into the next question."""
        self._offered = line

    @contextmanager
    def interruptible(self) -> "Iterator[asyncio.Future[None]]":
        """Give a future that is done when Ctrl-C is pressed."""
        loop = asyncio.get_running_loop()
        pressed: asyncio.Future[None] = loop.create_future()

        def press() -> None:
            if not pressed.done():
                pressed.set_result(None)

        before = signal.getsignal(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, press)
        try:
            yield pressed
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)
            pressed.cancel()

    async def _ask(self, session: PromptSession[str], question: str, offered: str = "") -> str | None:
        try:
            return await session.prompt_async(question, default=offered)
        except EOFError:
            return None
        except KeyboardInterrupt:
            raise Interrupted from None


class Pipe:
    """Reads the same answers from standard input, and asks nothing."""

    attended = False

    def __init__(self) -> None:
        self._rest = bytearray()

    async def line(self, question: str) -> str | None:
        """Return the next line; None at the end."""
        del question
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[bytes | None] = loop.create_future()

        def deliver(line: bytes | None, trouble: OSError | None) -> None:
            if coming.done():
                return
            if trouble is None:
                coming.set_result(line)
            else:
                coming.set_exception(trouble)

        def read() -> None:
            line, trouble = None, None
            try:
                line = self._next()
            except OSError as exc:
                trouble = exc
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(deliver, line, trouble)

        # Not in a pool: its end would wait for a line that may never come.
        Thread(target=read, daemon=True, name="read standard input").start()
        line = await coming
        return None if line is None else line.rstrip(b"\r").decode(errors="surrogateescape")

    def _next(self) -> bytes | None:
        """Read a line without the buffer of `sys.stdin`, whose lock must be free when the process ends."""
        while b"\n" not in self._rest:
            data = os.read(sys.stdin.fileno(), READ_BYTES) if sys.stdin else b""
            if not data:
                last, self._rest = bytes(self._rest), bytearray()
                return last or None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return bytes(line)

    async def path(self, question: str) -> str | None:
        """Return the next line, the name of a file."""
        return await self.line(question)

    def offer(self, line: str) -> None:
        """Nobody is there to change it."""

    @contextmanager
    def interruptible(self) -> "Iterator[asyncio.Future[None]]":
        """Give a future that is never done: Ctrl-C ends the program."""
        yield asyncio.get_running_loop().create_future()

    def speaking(self) -> AbstractContextManager[None]:
        """There is no question to keep clear of."""
        return nullcontext()


def prompts() -> Prompts:
    """Return what suits standard input."""
    return Terminal() if sys.stdin and sys.stdin.isatty() and sys.stdout.isatty() else Pipe()


def lines_of_earlier_runs() -> History:
    """Return the history of lines; it is kept in a file that only this person can read, where there may be one."""
    file = Path(click.get_app_dir("chat-client")) / "lines"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
