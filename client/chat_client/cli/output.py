"""Output and exit codes of the command.

Answers go to standard output, everything else to standard error, so that a pipe gets answers only.
`permits.cli.output` repeats some of this code, because `permits` depends on no other package of this project.
"""

import asyncio
import codecs
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from chat_client.cli import INTERRUPTED
from chat_client.cli.advice import advised
from chat_client.cli.clock import now
from chat_client.cli.pictures import show_picture
from chat_client.cli.wrapping import print_hanging
from chat_client.errors import ClientError, FileError
from chat_client.files import save
from frameproto import MediaPart, Response, ResponseKind

Result = TypeVar("Result")

KIB: Final = 1024
MIB: Final = 1024 * KIB
ERROR_REPLY: Final = 4
WRONG_INPUT: Final = 2
VIEWERS: Final = ("xdg-open", "open", "wslview")
STEERING: Final = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)} - {0x0A, 0x09}
"""Control characters, and those that turn the direction of writing."""

REPLACED: Final = dict.fromkeys((*STEERING, *range(0xD800, 0xE000)), "\ufffd")
ESCAPED: Final = {character: f"\\u{character:04x}" for character in REPLACED}


def run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run a command and exit: with its exit code, or with a one-line error message."""
    sys.exit(done(work) or 0)


def done(work: Coroutine[Any, Any, Result]) -> Result:
    """Run work and return its result. After an error, print one line and exit."""
    for stream in (sys.stdout, sys.stderr):
        _replace_unencodable(stream)
    try:
        result = asyncio.run(work)
        sys.stdout.flush()
    except ClientError as exc:
        complain(advised(exc))
        code = exc.exit_code
    except OSError as exc:
        code = _discard_output(exc)
    except KeyboardInterrupt:
        code = INTERRUPTED
    else:
        return result
    sys.exit(code)


def is_sure(question: str, *, yes: bool) -> bool:
    """Ask for confirmation, unless given by an option. Fails without a terminal. Not within `run`: this call blocks."""
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone, and nobody is there to be asked; say --yes")
    try:
        sure = click.confirm(question, err=True)
    except click.Abort as exc:
        if not isinstance(exc.__context__, EOFError):
            sys.exit(INTERRUPTED)
        sure = False
    if not sure:
        notes().print("nothing was deleted")
    return sure


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
    return FileError.exit_code


def complain(what: str) -> None:
    """Print an error message."""
    notes().print(f"[bold red]error[/] {escape(printable(what).replace(chr(10), ' '))}", soft_wrap=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise, so that `run` handles it like other output errors."""
        raise BrokenPipeError


def notes() -> Console:
    """Return the console for messages (standard error). A new one each time: the stream may have been replaced."""
    return _Console(stderr=True, highlight=False)


def answers() -> Console:
    """Return the console for answers (standard output)."""
    return _Console(highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text without control characters: what another person wrote must not control the terminal."""
    return text.translate(REPLACED)


def print_json(content: object) -> None:
    """Print an object as one line of JSON, safe for a terminal."""
    narrow = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    click.echo(json.dumps(content, default=_plain, ensure_ascii=narrow).translate(ESCAPED))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show_reply(
    reply: Response,
    folder: Path,
    *,
    as_json: bool,
    seconds: float | None = None,
    saved_as: dict[MediaPart, Path] | None = None,
) -> int:
    """Print a reply, and save its media under names that tell the time; return the exit code it stands for.

    `saved_as` takes where each part is.

    Raises:
        FileError: media could not be saved; the text was printed all the same.
    """
    stem = now().strftime("%Y-%m-%dT%H-%M-%S")
    saved: dict[str, str] = {}
    trouble: FileError | None = None
    for part, content in reply.media.items():
        try:
            path = save(folder, f"{stem}-{part}", f".{part.suffix}", content)
            saved[part.value] = str(path)
            if saved_as is not None:
                saved_as[part] = path
        except FileError as exc:
            trouble = exc
    _print_reply(reply, saved, as_json=as_json, seconds=seconds)
    if trouble is not None:
        raise trouble
    return ERROR_REPLY if reply.kind is ResponseKind.ERROR else 0


def _print_reply(reply: Response, saved: dict[str, str], *, as_json: bool, seconds: float | None) -> None:
    if as_json:
        print_json({"kind": reply.kind.message_kind.value, "text": reply.text, **saved})
        return
    if reply.kind is ResponseKind.ERROR:
        complain(f"{reply.error_message} ({reply.error_code})")
        return
    took = "" if seconds is None else f"  [dim]{_duration(seconds)}[/]"
    print_hanging(answers(), "[bold cyan]bot[/]  ", printable(reply.text), tail=took, markdown=True)
    for part, path in saved.items():
        answers().print(f"     [dim]{part}[/]  {escape(printable(path))}")
    if len(reply.image):
        show_picture(reply.image)


def size_of(size_bytes: int) -> str:
    """Return a size in words."""
    if size_bytes >= MIB:
        return f"{size_bytes / MIB:,.1f} MiB"
    return f"{size_bytes / KIB:,.0f} KiB" if size_bytes >= KIB else f"{size_bytes} bytes"


def number_of(how_many: int, what: str, plural: str = "") -> str:
    """Return "1 message", "2 messages"."""
    return f"{how_many:,} {what if how_many == 1 else plural or f'{what}s'}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@contextmanager
def progress(what: str, size: int, *, least: int = 256 * 1024) -> Iterator[Callable[[int], None]]:
    """Show how far a transfer is, on a terminal and when it is large enough to watch."""
    console = notes()
    if not console.is_terminal:
        yield lambda _done: None
        return
    if size < least:
        yield lambda _done: None
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(escape(what), total=size)

        def move(done: int) -> None:
            bar.update(task, completed=done)

        yield move


def run_viewer(path: Path | None) -> int:
    """Open a file with the program that this system has for it; return the exit code."""
    if path is None:
        complain("the last reply had no picture and no voice")
        return WRONG_INPUT
    program = next((found for name in VIEWERS if (found := shutil.which(name))), None)
    if program is None:
        complain(f"nothing here opens files; the file is {path}")
        return FileError.exit_code
    quiet = subprocess.DEVNULL
    subprocess.Popen([program, str(path)], stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603 - one of VIEWERS
    return 0
