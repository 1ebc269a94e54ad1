"""Where the lines of a conversation come from: a person at a terminal, or a pipe."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Final, Protocol

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.patch_stdout import patch_stdout

from chat_client.cli.lines import Command
from chat_client.cli.output import printable
from chat_client.errors import ClientError
from frameproto import MediaPart, RequestKind
from frameproto.media import OTHER_FORMATS, OWN_FORMATS

TAKE_FILES: Final = {
    word: kind.part for kind in RequestKind if kind.part is not None for word in (f"/{kind.message_kind}", f"{kind:d}")
}
TAKE_IDS: Final = frozenset(f"/{command}" for command in (Command.SESSION, Command.OPEN, Command.PLAY))
IDS_SECONDS: Final = 5.0
CompleteIds = Callable[[str], Awaitable[list[tuple[str, str]]]]
READ_BYTES: Final = 64 * 1024


class Prompts(Protocol):
    """Asks for lines.

    Attributes:
        attended: whether a person sees errors and decides what to do.
    """

    attended: bool

    async def line(self, question: str) -> str | None:
        """Return a line of text; None when there are no more."""

    async def path(self, question: str, part: MediaPart) -> str | None:
        """Return the name of a file with such media; None when there are no more."""

    def complete_ids(self, ids: CompleteIds) -> None:
        """Say what returns the ids that may stand behind a command, each with a word about it."""

    def offer(self, line: str) -> None:
        """Put a line into the next question, to be sent or changed."""

    def interruptible(self) -> "AbstractContextManager[asyncio.Future[None]]":
        """Give a future that is done when Ctrl-C is pressed within a `with` block."""


class Interrupted(Exception):
    """Ctrl-C was pressed at a question."""


class _LineCompleter(Completer):
    """Completes commands, and behind them what they take: files of the right kind, folders, ids."""

    def __init__(self) -> None:
        self.ids: CompleteIds | None = None
        self._paths = {word: paths_of(part) for word, part in TAKE_FILES.items()}
        self._paths["/save"] = PathCompleter(expanduser=True, only_directories=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the cursor, as far as it is known without asking."""
        text = document.text_before_cursor
        word, space, rest = text.partition(" ")
        if not space and word.startswith("/"):
            for command in Command:
                if command.startswith(word[1:]):
                    yield Completion(f"/{command} ", start_position=-len(word))
        elif word in self._paths:
            yield from self._paths[word].get_completions(Document(rest, len(rest)), complete_event)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Yield what may stand at the cursor; history is asked for ids, and what goes wrong then is not said."""
        word, space, rest = document.text_before_cursor.partition(" ")
        if not space or word not in TAKE_IDS or self.ids is None:
            for completion in self.get_completions(document, complete_event):
                yield completion
            return
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(IDS_SECONDS):
                found = await self.ids(word[1:])
            for id_, about in found:
                if id_.startswith(rest.lower()):
                    yield Completion(id_, start_position=-len(rest), display_meta=printable(about))


def early_end() -> KeyBindings:
    """Return the binding that lets Ctrl-D end an empty line, although it was pressed before the question stood there.

    Until then the terminal reads lines. Linux keeps such a Ctrl-D as a NUL for a program that reads keys later.
    """
    bindings = KeyBindings()

    @bindings.add(Keys.ControlAt, filter=Condition(lambda: not get_app().current_buffer.text))
    def end(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError())

    return bindings


def paths_of(part: MediaPart) -> PathCompleter:
    """Return what completes names of folders, and of files that may be this part."""
    suffixes = tuple(f".{form.suffix}" for form in (OWN_FORMATS[part], *OTHER_FORMATS[part]))
    return PathCompleter(
        expanduser=True, file_filter=lambda name: Path(name).is_dir() or name.lower().endswith(suffixes)
    )


class Terminal:
    """Asks a person, who can edit, call earlier lines back, and complete names of files with Tab."""

    attended = True

    def __init__(self) -> None:
        self._offered = ""
        self._completer = _LineCompleter()
        self._lines: PromptSession[str] = PromptSession(
            history=lines_of_earlier_runs(),
            completer=self._completer,
            complete_while_typing=False,
            key_bindings=early_end(),
        )
        self._paths: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), complete_while_typing=False, key_bindings=early_end()
        )

    async def line(self, question: str) -> str | None:
        """Ask for a line; Ctrl-D means that there are no more.

        Raises:
            Interrupted: Ctrl-C was pressed.
        """
        offered, self._offered = self._offered, ""
        return await self._ask(self._lines, question, offered)

    async def path(self, question: str, part: MediaPart) -> str | None:
        """Ask for the name of a file."""
        self._paths.completer = paths_of(part)
        return await self._ask(self._paths, question)

    def complete_ids(self, ids: CompleteIds) -> None:
        """Say what returns the ids that may stand behind a command."""
        self._completer.ids = ids

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
            with patch_stdout(raw=True):  # what is said meanwhile appears above the question
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
            with suppress(RuntimeError):  # the loop has ended
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

    async def path(self, question: str, part: MediaPart) -> str | None:
        """Return the next line, the name of a file."""
        del part
        return await self.line(question)

    def complete_ids(self, ids: CompleteIds) -> None:
        """Does nothing: a pipe has no completion."""

    def offer(self, line: str) -> None:
        """Does nothing: a pipe cannot edit."""

    @contextmanager
    def interruptible(self) -> "Iterator[asyncio.Future[None]]":
        """Give a future that is never done: Ctrl-C ends the program."""
        yield asyncio.get_running_loop().create_future()


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
