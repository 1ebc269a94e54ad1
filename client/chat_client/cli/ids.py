"""Sessions and messages on the command line: whole ids or their beginnings, completed by the Tab key."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from click.shell_completion import CompletionItem

from chat_client.cli import options as option
from chat_client.cli.clock import local
from chat_client.cli.config import read_config
from chat_client.cli.output import printable
from chat_client.errors import ClientError
from chat_client.history import History
from chat_client.history_records import MESSAGE_ID, Message
from chat_client.installation import learn_history_address
from chat_client.short_ids import ShortId, find_session
from frameproto.connection import parse_uuid

COMPLETED: Final = 50
COMPLETION_SECONDS: Final = 3.0


class SessionName(click.ParamType[str]):
    """The id of a session, or its beginning."""

    name = "session"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what no id begins with."""
        try:
            ShortId.parse(value)
        except ValueError as exc:
            self.fail(f"{value} is not a session: {exc}", param, ctx)
        if "." in value:
            self.fail(f"{value} is not a session; it has the form of a message", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the sessions of the client that begin so."""
        del param
        return _completed(ctx, incomplete, _sessions)


class MessageName(click.ParamType[str]):
    """The id of a message, or its beginning."""

    name = "message"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what no id begins with."""
        try:
            ShortId.parse(value)
        except ValueError as exc:
            self.fail(f"{value} is not a message: {exc}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the messages of the latest conversation that begin so."""
        del param
        return _completed(ctx, incomplete, _messages)


class SessionOrMessage(MessageName):
    """Either of them."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the sessions, and the messages of the latest one, that begin so."""
        del param
        return [*_completed(ctx, incomplete, _sessions), *_completed(ctx, incomplete, _messages)]


SESSION: Final = SessionName()
MESSAGE: Final = MessageName()

to_go_on_with = click.option(
    "--session", type=SESSION, help="The session to go on with, which may be shortened; a new one by default."
)

of_client = click.option(
    "--client-id",
    type=option.TEXT,
    envvar="CHAT_CLIENT_ID",
    show_envvar=True,
    help="Your client id; needed where an id is shortened.",
)


def is_whole(given: str) -> bool:
    """Say whether this is an id and not only the beginning of one."""
    try:
        parse_uuid(given)
    except ValueError:
        return MESSAGE_ID.fullmatch(given) is not None
    return True


def client_for(given: str, client_id: str | None) -> str:
    """Return whose ids are looked through for a shortened one; empty where none is needed.

    Raises:
        click.UsageError: an id is shortened, and nobody said whose it is.
    """
    if client_id is None and not is_whole(given):
        raise click.UsageError(f"{given} is shortened: say by --client-id whose it is, or give the whole id")
    return client_id or ""


async def session_to_go_on_with(given: str | None, *, client_id: str, token: str | None, chat_url: str) -> UUID | None:
    """Return the session that is given, or begins so. Only then is history asked.

    Raises:
        ClientError: there is none, or more than one; history cannot be asked.
    """
    if given is None:
        return None
    if is_whole(given):
        return UUID(given)
    address = await asyncio.to_thread(learn_history_address, chat_url)
    async with History(address, token=token) as history:
        return await find_session(history, client_id, given)


Lister = Callable[[History, str], Any]


async def _sessions(history: History, client_id: str) -> list[CompletionItem]:
    found: list[CompletionItem] = []
    async for session in history.sessions(client_id):
        found.append(
            CompletionItem(str(session.id), help=printable(session.title or f"{local(session.started_at):%x %H:%M}"))
        )
        if len(found) == COMPLETED:
            break
    return found


async def _messages(history: History, client_id: str) -> list[CompletionItem]:
    async for session in history.sessions(client_id):
        messages = [message async for message in history.messages(session.id, newest=COMPLETED)]
        return [CompletionItem(message.id, help=_summary(message)) for message in reversed(messages)]
    return []


def _summary(message: Message) -> str:
    return printable(" ".join((message.text or message.kind).split())[:40])


def _completed(ctx: click.Context, incomplete: str, list_them: Lister) -> list[CompletionItem]:
    """Ask history; where it cannot be asked quickly, nothing is completed, and nothing said."""
    client_id = ctx.params.get("client_id") or os.environ.get("CHAT_CLIENT_ID") or read_config().get("client-id")
    if not client_id:
        return []

    async def ask() -> list[CompletionItem]:
        address = os.environ.get("CHAT_HISTORY_URL") or read_config().get("history") or ""
        chat_url = ctx.params.get("url") or os.environ.get(option.URL_VARIABLE) or read_config().get("url")
        if not address and chat_url:
            address = await asyncio.to_thread(learn_history_address, chat_url)
        async with (
            asyncio.timeout(COMPLETION_SECONDS),
            History(address or option.LOCAL_HISTORY, token=_token()) as history,
        ):
            found: list[CompletionItem] = await list_them(history, client_id)
            return found

    try:
        found = asyncio.run(ask())
    except (ClientError, TimeoutError):
        return []
    return [item for item in found if item.value.startswith(incomplete.lower())]


def _token() -> str | None:
    file = os.environ.get("CHAT_TOKEN_FILE") or read_config().get("token-file")
    return (option.token_in(Path(file)) if file else os.environ.get(option.TOKEN_VARIABLE)) or None
