"""A conversation at the prompt: ask, send, show; connect again by itself when the connection was lost."""

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from rich.markup import escape

from chat_client.changes import Change, Lost
from chat_client.chat import Chat
from chat_client.chat import connect as open_chat
from chat_client.cli import INTERRUPTED
from chat_client.cli.advice import advised, misdirected
from chat_client.cli.history import show_message
from chat_client.cli.ids import session_to_go_on_with
from chat_client.cli.lines import NEW_SESSION, Command, File, SlashCommand, Text, UnknownLine, help_lines, read_line
from chat_client.cli.output import (
    WRONG_INPUT,
    answers,
    complain,
    notes,
    printable,
    progress,
    run_viewer,
    show_reply,
)
from chat_client.cli.prompts import Interrupted, Prompts
from chat_client.cli.send import answer
from chat_client.content import Upload
from chat_client.errors import ClientError, ConnectionLost, FileTrouble, Refused, Unanswered, Unreachable
from chat_client.files import read_upload, whole_message
from chat_client.history import History
from chat_client.installation import learn_history_address
from chat_client.link import Timing
from frameproto import MediaPart, RequestKind
from frameproto.connection import TEMPORARY_DENIALS
from frameproto.media import OWN_FORMATS

QUESTION: Final = "> "
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 60.0


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
    ping_seconds: float
    history_url: str | None
    as_json: bool


class Dialogue:
    """One conversation at the prompt.

    Args:
        options: of the command line.
        ask: where lines come from.
    """

    def __init__(self, options: ConnectOptions, ask: Prompts) -> None:
        self._options = options
        self._ask = ask
        self._session_id: UUID | None = None
        self._chat: Chat | None = None
        self._connection = AsyncExitStack()
        self._said_hello = False
        self._end: asyncio.Future[ClientError] | None = None
        self._saved: dict[MediaPart, Path] = {}

    async def run(self) -> int:
        """Talk until there is nothing more to say; return the exit code, which tells a script of the worst trouble."""
        worst = 0
        try:
            self._session_id = await self._find_session(self._options.session)
            await self._connected()
            if self._ask.attended:
                notes().print("[dim]Write something; /help lists what else there is.[/]")
            with self._ask.speaking():
                while (line := await self._next_line()) is not None:
                    code = await self._step(line)
                    if code is None:
                        break
                    worst = max(worst, code)
        except Interrupted:
            return INTERRUPTED
        finally:
            await self._connection.aclose()
            if self._session_id is not None:
                notes().print(f"[dim]goodbye; session {self._session_id}[/]")
        return 0 if self._ask.attended else worst

    async def _step(self, line: str) -> int | None:
        """Do what one line says; return the exit code it stands for, or nothing when it says goodbye."""
        try:
            return await self._act(line)
        except ClientError as exc:
            lost = isinstance(exc, Unanswered)
            if lost and not self._ask.attended:
                raise  # nobody is there to decide whether to send it again
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
                await self._show_history()
            case Command.SEARCH:
                await self._search(rest)
            case Command.SESSION:
                return await self._change_session(rest)
            case Command.SAVE:
                self._options = replace(self._options, save_to=_expanded(rest))
                notes().print(f"[dim]replies are saved in {escape(rest)}[/]")
            case Command.OPEN | Command.PLAY:
                part = MediaPart.VOICE if command is Command.PLAY else MediaPart.IMAGE
                return run_viewer(self._saved.get(part) or self._saved.get(MediaPart.VOICE))
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
            RequestKind.TEXT, "text", whole_message(content, "the text", self._options.max_bytes - 1)
        )

    async def _send_file(self, kind: RequestKind, given: str | None) -> int:
        assert kind.part is not None  # noqa: S101 - a text is no file
        name = given or await self._ask.path(f"{OWN_FORMATS[kind.part].label} file > ")
        if not name or not name.strip():
            return 0
        return await self._say(kind, *await asyncio.to_thread(_read, name.strip(), self._options.max_bytes - 1))

    async def _say(self, kind: RequestKind, name: str, content: bytes) -> int:
        chat = await self._connected()
        started = time.monotonic()
        with progress(name, len(content) + 1) as sent, self._ask.interruptible() as interrupted:
            asking = asyncio.create_task(answer(chat, Upload(kind, content), lambda done, _: sent(done)))
            either: set[asyncio.Future[Any]] = {asking, interrupted}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            asking.cancel()
            notes().print("[dim]not waiting for this answer any longer; history will have it[/]")
            return INTERRUPTED
        reply = await asking
        took = time.monotonic() - started
        options = self._options
        self._saved = {}
        return show_reply(reply, options.save_to, as_json=options.as_json, seconds=took, saved_as=self._saved)

    async def _show_history(self) -> None:
        if self._session_id is not None:
            address = await self._history_address()
            async with History(address, token=self._options.token) as service:
                async for message in service.messages(self._session_id):
                    show_message(message, {}, address)

    async def _search(self, words: str) -> None:
        address = await self._history_address()
        found = 0
        async with History(address, token=self._options.token) as service:
            async for message in service.search(self._options.client_id, words):
                show_message(message, {}, address)
                found += 1
        if not found:
            notes().print("no message holds all of these words")

    async def _change_session(self, rest: str) -> int:
        if not rest:
            answers().print(str(self._session_id))
            return 0
        session_id = None if rest == NEW_SESSION else await self._find_session(rest)
        await self._disconnect()
        self._session_id = session_id
        await self._connected()
        notes().print(f"[dim]session {self._session_id}[/]")
        return 0

    async def _find_session(self, given: str | None) -> UUID | None:
        options = self._options
        return await session_to_go_on_with(
            given,
            client_id=options.client_id,
            token=options.token,
            chat_url=options.url,
            history_url=options.history_url,
        )

    async def _history_address(self) -> str:
        given = self._options.history_url
        if given is None:
            given = await asyncio.to_thread(learn_history_address, self._options.url)
            self._options = replace(self._options, history_url=given)
        return given

    async def _connected(self) -> Chat:
        """Return the open connection. When there is none, make one, and try again for as long as that may help."""
        if self._chat is not None:
            return self._chat
        deadline = time.monotonic() + (PATIENCE_SECONDS if self._ask.attended else 0)
        pause_seconds = FIRST_PAUSE_SECONDS
        with notes().status("connecting") as status:
            while True:
                try:
                    return await self._open()
                except (Refused, Unreachable) as exc:
                    again = exc.code in TEMPORARY_DENIALS if isinstance(exc, Refused) else self._said_hello
                    if not again or time.monotonic() > deadline:
                        raise await asyncio.to_thread(misdirected, exc, self._options.url) from exc
                    seconds = getattr(exc, "retry_after_seconds", None) or pause_seconds
                    pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
                    status.update(f"{escape(str(exc))}; next attempt in {seconds:.0f} s")
                    await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - to spread clients

    async def _open(self) -> Chat:
        options = self._options
        self._end = asyncio.get_running_loop().create_future()
        self._chat = chat = await self._connection.enter_async_context(
            open_chat(
                options.url,
                client_id=options.client_id,
                time_zone=options.time_zone,
                session_id=self._session_id,
                token=options.token,
                timing=Timing(ping_seconds=options.ping_seconds),
                patience_seconds=0,  # this module comes back by itself
                on_change=self._note,
            )
        )
        self._session_id = chat.session_id
        if self._said_hello:
            notes().print("[green]connected again[/]")
        else:
            round_trip = await chat.round_trip_seconds()
            who = f"[bold]{escape(options.client_id)}[/] ({escape(options.time_zone)})"
            notes().print(f"[green]connected[/] as {who}, round trip {round_trip * 1000:.1f} ms")
        self._said_hello = True
        return chat

    def _note(self, change: Change) -> None:
        if isinstance(change, Lost) and self._end is not None and not self._end.done():
            self._end.set_result(change.why)

    async def _disconnect(self) -> None:
        self._chat = None
        await self._connection.aclose()
        self._connection = AsyncExitStack()

    async def _next_line(self) -> str | None:
        """Ask what to do next; meanwhile, connect again when the connection ends."""
        asking = asyncio.create_task(self._ask.line(QUESTION))
        try:
            while self._chat is not None and self._end is not None and not asking.done():
                either: set[asyncio.Future[Any]] = {asking, self._end}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if self._end.done():
                    await self._come_back(self._end.result(), asking)
            return await asking
        finally:
            asking.cancel()

    async def _come_back(self, why: ClientError, asking: "asyncio.Task[str | None]") -> None:
        """Say that the connection ended, and make another one where that may help."""
        await self._disconnect()
        again = not isinstance(why, ConnectionLost) or why.may_reconnect
        at_once = again and self._ask.attended and isinstance(why, ConnectionLost) and why.comes_back
        complain(
            f"{printable(str(why))}; "
            + ("connecting again" if at_once else "your next message connects again" if again else "end with /quit")
        )
        if at_once:
            coming = asyncio.create_task(self._connected())
            await asyncio.wait({asking, coming}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
            with suppress(ClientError, asyncio.CancelledError):
                await coming  # what keeps it away is told when there is something to send


def _expanded(name: str) -> Path:
    """Return a path with a home folder in place of its ~.

    Raises:
        FileTrouble: nobody here is called that.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as exc:
        raise FileTrouble(f"{name} cannot be used: nobody here is called that") from exc


def _read(name: str, max_bytes: int) -> tuple[str, bytes]:
    path = _expanded(name)
    return path.name, read_upload(path, max_bytes)
