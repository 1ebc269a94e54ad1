"""`chat-client connect`: a conversation, message by message."""

import asyncio
import re
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from rich.markup import escape

from chat_client.chat import Chat
from chat_client.chat import connect as open_chat
from chat_client.cli import options as option
from chat_client.cli.history import show_message
from chat_client.cli.output import WRONG_INPUT, complain, notes, progress, run, show_reply
from chat_client.cli.prompts import Prompts, prompts
from chat_client.errors import ClientError, ConnectionLost, FileTrouble
from chat_client.files import read_upload, whole_message
from chat_client.history import History
from frameproto import FrameError, RequestKind
from frameproto.media import OWN_FORMATS

MENU: Final = " · ".join([*(f"{kind:d} {kind.message_kind}" for kind in RequestKind), "h history", "q quit > "])
CHOICE: Final = re.compile(rf"([{''.join(str(int(kind)) for kind in RequestKind)}])(?:\s+(.*\S))?\s*", re.DOTALL)
EPILOG: Final = """\b
From a script:
  printf '0\\nhello\\n1\\nsamples/hello.mp3\\n' |
    chat-client connect ws://127.0.0.1:8000 --client-id anna
"""


@click.command(epilog=EPILOG)
@option.options(
    option.address,
    option.client_id,
    option.time_zone,
    option.session,
    option.token,
    option.save_to,
    option.max_bytes,
    click.option(
        "--ping-seconds",
        type=click.FloatRange(min=1, max=300),
        default=20.0,
        show_default=True,
        help="How often to see whether the server is still there.",
    ),
    option.history_address,
    option.as_json,
)
def connect(**terms: Any) -> None:  # noqa: ANN401 - the options, by the names of Terms
    """Talk to the chatbot at URL.

    You are asked what to send: 0 is a text, 1 a voice note (MP3), 2 a video (MP4); then for the text, or for the file,
    where Tab completes names. Both may stand in one line: "0 What time is it?"

    Without a terminal the same lines are read from standard input.
    """
    run(Conversation(Terms(**terms), prompts()).run())


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the command line says."""

    url: str
    client_id: str
    time_zone: str
    session: UUID | None
    token: str | None
    save_to: Path
    max_bytes: int
    ping_seconds: float
    history_url: str
    as_json: bool


class Conversation:
    """Asks, sends, shows; connects again when the connection was lost and there is something to send."""

    def __init__(self, terms: Terms, ask: Prompts) -> None:
        self._terms = terms
        self._ask = ask
        self._session_id = terms.session
        self._chat: Chat | None = None
        self._connection = AsyncExitStack()

    async def run(self) -> int:
        """Talk until there is nothing more to say; return the exit code, which tells a script of the worst trouble."""
        worst = 0
        try:
            await self._connected()
            with self._ask.speaking():
                while (line := await self._next_line()) is not None and line.strip() != "q":
                    worst = max(worst, await self._step(line.strip()))
        finally:
            await self._connection.aclose()
        notes().print(f"[dim]goodbye; session {self._session_id}[/]")
        return 0 if self._ask.attended else worst

    async def _step(self, line: str) -> int:
        """Do what one line says; return the exit code it stands for."""
        try:
            if line == "h":
                return await self._show_history()
            choice = CHOICE.fullmatch(line)
            if choice is None:
                if line:
                    complain(f'"{line[:40]}" is none of these: {MENU.removesuffix(" > ")}')
                return WRONG_INPUT if line else 0
            kind = RequestKind(int(choice[1]))
            content = await self._content(kind, choice[2])
            return 0 if content is None else await self._say(kind, *content)
        except FrameError as bad:
            complain(f"this is no message: {bad}")
            return WRONG_INPUT
        except ClientError as trouble:
            if isinstance(trouble, ConnectionLost) and not self._ask.attended:
                raise  # nobody is there to decide whether to send it again
            complain(str(trouble))
            return trouble.exit_code

    async def _content(self, kind: RequestKind, given: str | None) -> tuple[str, bytes] | None:
        """Return a name and the bytes to send, asking for what the line did not say."""
        if (part := kind.part) is None:
            text = given or await self._ask.line("text > ")
            if not text or not text.strip():
                return None
            content = text.encode(errors="surrogateescape")
            return "text", whole_message(BytesIO(content), "the text", self._terms.max_bytes - 1)
        name = given or await self._ask.path(f"{OWN_FORMATS[part].label} file > ")
        if not name or not name.strip():
            return None
        return await asyncio.to_thread(_read, name.strip(), self._terms.max_bytes - 1)

    async def _say(self, kind: RequestKind, name: str, content: bytes) -> int:
        chat = await self._connected()
        started = time.monotonic()
        with progress(name, len(content) + 1) as sent:
            reply = await chat.ask(kind, content, on_sent=sent)
        took = time.monotonic() - started
        return show_reply(reply, self._terms.save_to, as_json=self._terms.as_json, seconds=took)

    async def _show_history(self) -> int:
        if self._session_id is not None:
            async with History(self._terms.history_url, token=self._terms.token) as service:
                for message in await service.messages(self._session_id):
                    show_message(message, {}, self._terms.history_url)
        return 0

    async def _connected(self) -> Chat:
        """Return the open connection, making one when there is none."""
        if self._chat is None:
            terms = self._terms
            with notes().status("connecting; when all places are taken, waiting in line"):
                opening = open_chat(
                    terms.url,
                    client_id=terms.client_id,
                    time_zone=terms.time_zone,
                    session_id=self._session_id,
                    token=terms.token,
                    ping_seconds=terms.ping_seconds,
                )
                self._chat = await self._connection.enter_async_context(opening)
                round_trip = await self._chat.round_trip_seconds()
            self._session_id = self._chat.session_id
            notes().print(
                f"[green]connected[/] as [bold]{escape(terms.client_id)}[/], round trip {round_trip * 1000:.1f} ms"
            )
        return self._chat

    async def _next_line(self) -> str | None:
        """Ask what to do next; tell at once when the connection ends meanwhile."""
        asking = asyncio.create_task(self._ask.line(MENU))
        try:
            if self._chat is not None:
                ending = asyncio.create_task(self._chat.ended())
                await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    await self._note_end(ending.result())
                else:
                    ending.cancel()
            return await asking
        finally:
            asking.cancel()

    async def _note_end(self, why: ClientError) -> None:
        again = not isinstance(why, ConnectionLost) or why.may_reconnect
        complain(f"{why}; your next message connects again" if again else f"{why}; end with q")
        self._chat = None
        await self._connection.aclose()
        self._connection = AsyncExitStack()


def _read(name: str, max_bytes: int) -> tuple[str, bytes]:
    try:
        path = Path(name).expanduser()
    except RuntimeError as nobody:
        raise FileTrouble(f"{name} cannot be read: nobody here is called that") from nobody
    return path.name, read_upload(path, max_bytes)
