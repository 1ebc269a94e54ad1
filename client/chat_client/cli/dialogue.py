"""A conversation at the prompt: read a line, execute it, show the answer."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

from rich.markup import escape

from chat_client.cli import INTERRUPTED
from chat_client.cli.advice import advised
from chat_client.cli.lines import NEW_SESSION, Command, File, SlashCommand, Text, UnknownLine, help_lines, read_line
from chat_client.cli.lookup import Lookup
from chat_client.cli.output import WRONG_INPUT, answers, complain, notes, run_viewer, show_reply
from chat_client.cli.prompts import Interrupted, Prompts
from chat_client.cli.recording import find_recorder, recording
from chat_client.cli.terminal_chat import ConnectOptions, TerminalChat, is_cancelled
from chat_client.content import Upload
from chat_client.errors import ClientError, FileError, Unanswered
from chat_client.files import read_upload, whole_message
from frameproto import MediaPart, RequestKind
from frameproto.connection import parse_uuid
from frameproto.media import OWN_FORMATS

T = TypeVar("T")

QUESTION: Final = "> "
PATIENCE_SECONDS: Final = 60.0
OPENED: Final = {
    Command.OPEN: (MediaPart.IMAGE, MediaPart.VIDEO, MediaPart.VOICE),
    Command.PLAY: (MediaPart.VOICE, MediaPart.VIDEO),
}


class Dialogue:
    """One conversation at the prompt.

    Args:
        options: of the command line.
        ask: where lines come from.
    """

    def __init__(self, options: ConnectOptions, ask: Prompts) -> None:
        self._options = options
        self._ask = ask
        self._lookup = Lookup(options)
        patience_seconds = PATIENCE_SECONDS if ask.attended else 0
        self._talk = TerminalChat(options, patience_seconds=patience_seconds, greets=True)
        self._saved: dict[MediaPart, Path] = {}
        ask.complete_ids(self._ids)

    async def run(self) -> int:
        """Run until the input ends. Return the exit code of the worst error."""
        worst = 0
        try:
            self._talk.session_id = await self._session(self._options.session)
            await self._talk.open()
            if self._ask.attended:
                notes().print("[dim]Write something; /help lists what else there is.[/]")
            while (line := await self._ask.line(QUESTION)) is not None:
                code = await self._step(line)
                if code is None:
                    break
                worst = max(worst, code)
        except Interrupted:
            return INTERRUPTED
        finally:
            await self._talk.leave()
            if self._talk.session_id is not None:
                notes().print(f"[dim]goodbye; session {self._talk.session_id}[/]")
        return 0 if self._ask.attended else worst

    async def _step(self, line: str) -> int | None:
        """Execute one line; return its exit code, or None to end the conversation."""
        try:
            return await self._act(line)
        except _Stopped:
            notes().print("[dim]stopped[/]")
            return INTERRUPTED
        except ClientError as exc:
            lost = isinstance(exc, Unanswered)
            if lost and not self._ask.attended:
                raise  # no person is there to decide whether to send it again
            complain(advised(exc))
            if lost:
                self._ask.offer(line)
            return exc.exit_code

    async def _act(self, line: str) -> int | None:
        code: int | None = 0
        match read_line(line):
            case Text(words):
                code = await self._send_text(words)
            case File(kind, name):
                code = await self._send_file(kind, name)
            case SlashCommand(Command.QUIT):
                code = None
            case SlashCommand(command, rest):
                code = await self._do(command, rest)
            case UnknownLine(why):
                complain(why)
                code = WRONG_INPUT
            case None:
                pass
        return code

    async def _do(self, command: Command, rest: str) -> int:
        """Do what a command says."""
        match command:
            case Command.HISTORY:
                if self._talk.session_id is not None:
                    await self._unless_stopped(self._lookup.show_session(self._talk.session_id))
            case Command.SEARCH:
                await self._unless_stopped(self._lookup.show_found(rest))
            case Command.SESSION:
                await self._change_session(rest)
            case Command.RECORD:
                return await self._record()
            case Command.SAVE:
                self._options = replace(self._options, save_to=_expanded(rest))
                notes().print(f"[dim]replies are saved in {escape(rest)}[/]")
            case Command.OPEN | Command.PLAY:
                return run_viewer(await self._file(OPENED[command], rest))
            case Command.HELP | Command.VOICE | Command.VIDEO | Command.QUIT:  # the last three do not come here
                for line in help_lines():
                    answers().print(escape(line))
        return 0

    async def _send_text(self, words: str | None) -> int:
        text = words or await self._ask.line("text > ")
        if not text or not text.strip():
            return 0
        content = BytesIO(text.encode(errors="surrogateescape"))
        return await self._say(
            RequestKind.TEXT, "the text", whole_message(content, "the text", self._options.max_bytes - 1)
        )

    async def _send_file(self, kind: RequestKind, given: str | None) -> int:
        assert kind.part is not None  # noqa: S101 - a text is no file
        name = given or await self._ask.path(f"{OWN_FORMATS[kind.part].label} file > ", kind.part)
        if not name or not name.strip():
            return 0
        return await self._say(kind, *await asyncio.to_thread(_read, name.strip(), self._options.max_bytes - 1))

    async def _record(self) -> int:
        """Record until the next line, save the recording and send it."""
        if not self._ask.attended:
            raise FileError("/record needs a terminal; /voice FILE sends a recording")
        async with recording(find_recorder()) as recorded:
            asking = asyncio.create_task(self._ask.line("recording; Enter sends it, Ctrl-D throws it away > "))
            ending = asyncio.create_task(recorded.ended())
            try:
                await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done() and asking.result() is None:
                    notes().print("[dim]thrown away[/]")
                    return 0
                path = await recorded.keep(self._options.save_to)
            finally:
                ending.cancel()
                asking.cancel()
        notes().print(f"[dim]recorded {escape(str(path))}[/]")
        return await self._send_file(RequestKind.VOICE, str(path))

    async def _say(self, kind: RequestKind, name: str, content: bytes) -> int:
        started = time.monotonic()
        await self._unless_stopped(self._talk.open())
        with self._ask.interruptible() as interrupted:
            reply = await self._talk.say(Upload(kind, content), name, interrupted)
        if reply is None:
            notes().print("[dim]not waiting for this answer any longer; history will have it[/]")
            return INTERRUPTED
        if is_cancelled(reply):
            notes().print("[dim]taken back[/]")
            return INTERRUPTED
        took = time.monotonic() - started
        options = self._options
        self._saved = {}
        return show_reply(reply, options.save_to, as_json=options.as_json, seconds=took, saved_as=self._saved)

    async def _change_session(self, rest: str) -> None:
        if not rest:
            answers().print(str(self._talk.session_id))
            return
        session_id = None if rest == NEW_SESSION else await self._unless_stopped(self._session(rest))
        await self._unless_stopped(self._talk.go_to(session_id))
        notes().print(f"[dim]session {self._talk.session_id}[/]")

    async def _session(self, given: str | None) -> UUID | None:
        """Return the session that is given; history is asked only when it is shortened."""
        if given is None:
            return None
        try:
            return parse_uuid(given)
        except ValueError:
            return await self._lookup.session(given)

    async def _file(self, parts: tuple[MediaPart, ...], message: str) -> Path | None:
        """Return the first of these parts that the last reply, or the message that is named, has."""
        if message:
            return await self._unless_stopped(self._lookup.media(message, parts, self._options.save_to))
        return next((self._saved[part] for part in parts if part in self._saved), None)

    async def _ids(self, command: str) -> list[tuple[str, str]]:
        """Return the ids that may stand behind a command, each with a word about it."""
        if command == Command.SESSION:
            return await self._lookup.sessions()
        return await self._lookup.messages_with_media(self._talk.session_id)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it, and cancel it when Ctrl-C is pressed.

        Raises:
            _Stopped: it was.
        """
        with self._ask.interruptible() as interrupted:
            task = asyncio.create_task(work)
            try:
                either: set[asyncio.Future[Any]] = {task, interrupted}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    raise _Stopped
                return task.result()
            finally:
                task.cancel()
                await asyncio.wait({task})


class _Stopped(Exception):
    """Ctrl-C was pressed while something was done."""


def _expanded(name: str) -> Path:
    """Return a path with a home folder in place of its ~.

    Raises:
        FileError: nobody here is called that.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as exc:
        raise FileError(f"{name} cannot be used: nobody here is called that") from exc


def _read(name: str, max_bytes: int) -> tuple[str, bytes]:
    path = _expanded(name)
    return path.name, read_upload(path, max_bytes)
