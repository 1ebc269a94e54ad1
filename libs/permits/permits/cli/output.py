"""Output and exit codes of the command.

Answers go to standard output, everything else to standard error, so that a pipe gets answers only.
`chat_client.cli.output` repeats some of this code, because `permits` depends on no other package of this project.
"""

import asyncio
import codecs
import json
import os
import re
import sys
from collections.abc import Coroutine
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, Final, NoReturn, TextIO

import click
from rich.console import Console
from rich.markup import escape

from permits.errors import PoolUnavailable
from permits.redis import PoolKnown, PoolUnknown

NOT_DONE: Final = 1
NOT_THERE: Final = 3
STORE_AWAY: Final = 5
OUTPUT_BROKEN: Final = 6
INTERRUPTED: Final = 130

PIPE_WIDTH: Final = 240  # of a table outside a terminal: wide enough to cut nothing off
STEERING: Final = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Control characters, and those that turn the direction of writing."""
REPLACED: Final = dict.fromkeys((*STEERING, 0x2028, 0x2029, *range(0xD800, 0xE000)), "\ufffd")
PASSWORD: Final = re.compile(r"(?<=://)\S*(?=@)|(?<=[?&]password=)[^&\s]*")


class NotThere(Exception):
    """A name on the command line is not in the pool."""


def run(work: Coroutine[Any, Any, int | None], *, interrupted: int = INTERRUPTED) -> NoReturn:
    """Run a command and exit: with its exit code, or with a one-line error message."""
    for stream in (sys.stdout, sys.stderr):
        _replace_unencodable(stream)
    try:
        code = asyncio.run(work) or 0
        sys.stdout.flush()
    except (NotThere, PoolUnknown, PoolKnown) as exc:
        complain(str(exc))
        code = NOT_THERE
    except PoolUnavailable as exc:
        complain(str(exc))
        code = STORE_AWAY
    except OSError as exc:
        code = _discard_output(exc)
    except KeyboardInterrupt:
        code = interrupted
    sys.exit(code)


def _replace_unencodable(stream: TextIO) -> None:
    """Write "?" for characters that the terminal's encoding lacks. In UTF-8, bytes of file names stay unchanged."""
    if isinstance(stream, TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        narrow = codecs.lookup(stream.encoding).name != "utf-8"
        if narrow or stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _discard_output(trouble: OSError) -> int:
    if not isinstance(trouble, BrokenPipeError):  # the reader has closed the pipe
        with suppress(OSError):
            complain(f"the output cannot be written: {trouble.strerror}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # flushing the rest at exit would fail again
    return OUTPUT_BROKEN


def complain(what: str) -> None:
    """Print an error message."""
    notes().print(f"[bold red]error[/] {escape(printable(without_password(what)))}", soft_wrap=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise, so that `run` handles it like other output errors."""
        raise BrokenPipeError


def notes() -> Console:
    """Return the console for messages (standard error)."""
    return _Console(stderr=True, highlight=False)


def answers() -> Console:
    """Return the console for answers (standard output)."""
    console = _Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def printable(text: str) -> str:
    """Return text on one line without control characters: names of clients and pods must not control the terminal."""
    return text.translate(REPLACED)


def without_password(text: str) -> str:
    """Return text with the credentials in addresses replaced."""
    return PASSWORD.sub("***", text)


def print_json(content: object) -> None:
    """Print an object as one line of ASCII JSON, and flush."""
    click.echo(json.dumps(content))
    sys.stdout.flush()
