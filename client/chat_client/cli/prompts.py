"""Where the lines of a conversation come from: a person at a terminal, or a pipe."""

import asyncio
import os
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from threading import Thread
from typing import Final, Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import PathCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

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

    def speaking(self) -> AbstractContextManager[None]:
        """Let other output appear above the question for the length of a `with` block."""


class Terminal:
    """Asks a person, who can edit, call earlier lines back, and complete names of files with Tab."""

    attended = True

    def __init__(self) -> None:
        self._lines: PromptSession[str] = PromptSession(history=InMemoryHistory())
        self._paths: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), completer=PathCompleter(expanduser=True), complete_while_typing=False
        )

    async def line(self, question: str) -> str | None:
        """Ask for a line; Ctrl-D and Ctrl-C mean that there are no more."""
        return await self._ask(self._lines, question)

    async def path(self, question: str) -> str | None:
        """Ask for the name of a file."""
        return await self._ask(self._paths, question)

    def speaking(self) -> AbstractContextManager[None]:
        """Let other output appear above the question."""
        return patch_stdout(raw=True)

    async def _ask(self, session: PromptSession[str], question: str) -> str | None:
        try:
            return await session.prompt_async(question)
        except (EOFError, KeyboardInterrupt):
            return None


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
            except OSError as failed:
                trouble = failed
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

    def speaking(self) -> AbstractContextManager[None]:
        """There is no question to keep clear of."""
        return nullcontext()


def prompts() -> Prompts:
    """Return what suits standard input."""
    return Terminal() if sys.stdin and sys.stdin.isatty() and sys.stdout.isatty() else Pipe()
