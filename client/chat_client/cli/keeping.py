"""`chat-client rename`, `delete`, `export` and `erase`: what becomes of what was said."""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.markup import escape

from chat_client.cli import options as option
from chat_client.cli.output import answers, notes, printable, run
from chat_client.files import free_name
from chat_client.history import MESSAGE_ID, History

YES = click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")


@click.command()
@option.options(
    click.argument("session", type=click.UUID),
    click.argument("title", required=False, type=option.TEXT),
    option.history_address,
    option.token,
)
def rename(**rest: Any) -> None:  # noqa: ANN401 - passed on as they are
    """Give SESSION the TITLE; without one its title is taken away."""
    run(_rename(**rest))


@click.command()
@option.options(
    click.argument("name", metavar="SESSION|MESSAGE", type=option.TEXT), YES, option.history_address, option.token
)
def delete(name: str, *, yes: bool, **rest: Any) -> None:  # noqa: ANN401
    """Delete a conversation or a message, with its media, for good. `sessions` and `history` show what it is named."""
    whole = not MESSAGE_ID.fullmatch(name)
    what = UUID(name) if whole and _is_uuid(name) else name
    if whole and not isinstance(what, UUID):
        raise click.UsageError(f"{printable(name)} names neither a session nor a message")
    if _is_sure(f"delete {'the conversation' if whole else 'the message'} {name} for good?", yes=yes):
        run(_delete(what, **rest))


@click.command()
@option.options(
    option.client_id,
    click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Name of the new file; by default CLIENT_ID-history.ndjson, in this folder.",
    ),
    option.history_address,
    option.token,
)
def export(**rest: Any) -> None:  # noqa: ANN401
    """Save all that history has of you, but for the media: conversations and messages, one JSON object a line."""
    run(_export(**rest))


@click.command()
@option.options(option.client_id, YES, option.history_address, option.token)
def erase(client_id: str, *, yes: bool, **rest: Any) -> None:  # noqa: ANN401
    """Delete everything that history has of you, media included, for good."""
    if _is_sure(f"delete everything of {printable(client_id)} for good?", yes=yes):
        run(_erase(client_id, **rest))


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name.lower()
    except ValueError:
        return False


def _is_sure(question: str, *, yes: bool) -> bool:
    """Ask, unless it was said already; nobody can be asked without a terminal."""
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone, and nobody is there to be asked; say --yes")
    if click.confirm(question, err=True):
        return True
    notes().print("nothing was deleted")
    return False


async def _rename(*, session: UUID, title: str | None, history_url: str, token: str | None) -> None:
    async with History(history_url, token=token) as service:
        renamed = await service.rename(session, title)
    answers().print(f"{renamed.id}  {escape(printable(renamed.title or 'no title'))}")


async def _delete(what: UUID | str, *, history_url: str, token: str | None) -> None:
    async with History(history_url, token=token) as service:
        if isinstance(what, UUID):
            await service.delete_session(what)
        else:
            await service.delete_message(what)
    notes().print(f"{what} is deleted")


async def _export(*, client_id: str, output: Path | None, history_url: str, token: str | None) -> None:
    stem = client_id.replace("/", "_").replace(":", "_").lstrip(".")
    path = output or free_name(Path(), f"{stem}-history", ".ndjson")
    async with History(history_url, token=token) as service:
        await service.export(client_id, path)
    answers().print(escape(str(path)))


async def _erase(client_id: str, *, history_url: str, token: str | None) -> None:
    async with History(history_url, token=token) as service:
        await service.erase(client_id)
    notes().print(f"everything of {escape(printable(client_id))} is deleted")
