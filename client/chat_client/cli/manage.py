"""`chat-client rename`, `delete` and `erase`: change and delete what history holds."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import click
from rich.markup import escape

from chat_client.archive import Contents, contents_of
from chat_client.cli import ids
from chat_client.cli import options as option
from chat_client.cli.output import answers, done, is_sure, notes, number_of, printable, run, size_of
from chat_client.history import History
from chat_client.short_ids import find_message, find_session

YES = click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")


@click.command()
@option.options(
    click.argument("session", type=ids.SESSION),
    click.argument("title", required=False, type=option.TEXT),
    ids.of_client,
    option.history_address,
    option.token,
)
def rename(**rest: Any) -> None:  # noqa: ANN401 - passed on as they are
    """Set the TITLE of SESSION, whose id may be shortened; without TITLE, remove it."""
    run(_rename(**rest))


@click.command()
@option.options(
    click.argument("name", metavar="SESSION|MESSAGE", type=ids.SessionOrMessage()),
    YES,
    ids.of_client,
    option.history_address,
    option.token,
)
def delete(name: str, *, yes: bool, client_id: str | None, history_url: str, token: str | None) -> None:
    """Delete a conversation or a message, with its media, for good. `sessions` and `history` show what it is named.

    An id may be shortened. The end .request or .reply says that a message is meant.
    """
    where = History(history_url, token=token)
    message = "." in name
    id_ = done(_whole(where, name, ids.client_for(name, client_id), find_message if message else find_session))
    if is_sure(f"delete the {'message' if message else 'conversation'} {id_} for good?", yes=yes):
        run(_delete(where, id_))


@click.command()
@option.options(option.client_id, YES, option.history_address, option.token)
def erase(client_id: str, *, yes: bool, **rest: Any) -> None:  # noqa: ANN401
    """Delete everything that history has of you, media included, for good. It says how much that is, and asks."""
    if not yes and sys.stdin and sys.stdin.isatty():
        contents = done(_contents(History(rest["history_url"], token=rest["token"]), client_id))
        notes().print(
            f"history has {number_of(contents.sessions, 'conversation')} of {escape(printable(client_id))}, with "
            f"{number_of(contents.messages, 'message')} and {number_of(contents.media, 'medium', 'media')} "
            f"({size_of(contents.media_bytes)})"
        )
    if is_sure(f"delete everything of {printable(client_id)} for good?", yes=yes):
        run(_erase(client_id, **rest))


async def _rename(
    *, session: str, title: str | None, client_id: str | None, history_url: str, token: str | None
) -> None:
    looked_through = ids.client_for(session, client_id)
    async with History(history_url, token=token) as service:
        renamed = await service.rename(await find_session(service, looked_through, session), title)
    answers().print(f"{renamed.id}  {escape(printable(renamed.title or 'no title'))}")


async def _whole(
    history: History, name: str, client_id: str, find: Callable[[History, str, str], Awaitable[UUID | str]]
) -> UUID | str:
    async with history as service:
        return await find(service, client_id, name)


async def _delete(history: History, what: UUID | str) -> None:
    async with history as service:
        if isinstance(what, UUID):
            await service.delete_session(what)
        else:
            await service.delete_message(what)
    notes().print(f"{what} is deleted")


async def _contents(history: History, client_id: str) -> Contents:
    with notes().status("looking how much there is"):
        async with history as service:
            return await contents_of(service, client_id)


async def _erase(client_id: str, *, history_url: str, token: str | None) -> None:
    async with History(history_url, token=token) as service:
        await service.erase(client_id)
    notes().print(f"everything of {escape(printable(client_id))} is deleted")
