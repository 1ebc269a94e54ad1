"""`chat-client sessions`, `history`, `search` and `media`: reading back what was said."""

import os
import shlex
import shutil
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.markup import escape

from chat_client.cli import ids
from chat_client.cli import options as option
from chat_client.cli.clock import local
from chat_client.cli.output import answers, notes, number_of, print_json, printable, progress, run, size_of
from chat_client.cli.wrapping import NARROW_COLUMNS, print_hanging
from chat_client.errors import Refused
from chat_client.files import free_name
from chat_client.history import History
from chat_client.history_records import Media, Message, Session
from chat_client.short_ids import find_message, find_session
from frameproto import MediaPart
from frameproto.media import suffix_of

ROOM_FOR_SESSIONS_COLUMNS: Final = 84


@click.command()
@option.options(option.client_id, option.history_address, option.token, option.as_json)
def sessions(**rest: Any) -> None:  # noqa: ANN401 - passed on as they are
    """List your conversations, the latest first."""
    run(_sessions(**rest))


@click.command()
@option.options(
    option.client_id,
    click.option(
        "--session",
        type=ids.SESSION,
        help="The conversation to show, which may be shortened; the latest by default.",
    ),
    click.option("--last", type=click.IntRange(min=1), help="Show only so many messages, the newest."),
    click.option(
        "--save-to",
        type=click.Path(file_okay=False, path_type=Path),
        help="Also save all voices, videos and pictures into this folder.",
    ),
    option.history_address,
    option.token,
    option.as_json,
)
def history(**rest: Any) -> None:  # noqa: ANN401
    """Show a conversation, oldest message first, with the media that belong to it."""
    run(_history(**rest))


@click.command()
@option.options(
    click.argument("words", nargs=-1, required=True, type=option.TEXT),
    option.client_id,
    option.history_address,
    option.token,
    option.as_json,
)
def search(**rest: Any) -> None:  # noqa: ANN401
    """Find the messages that hold all WORDS, the newest first. Words are whole; capitals do not matter."""
    run(_search(**rest))


@click.command()
@click.argument("message_id", metavar="MESSAGE", type=ids.MESSAGE)
@click.argument("part", type=click.Choice([part.value for part in MediaPart]))
@option.options(
    click.option(
        "--output",
        "-o",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Name of the new file; by default MESSAGE-PART with its ending, in this folder.",
    ),
    click.option(
        "--address", is_flag=True, help="Print an address that a player opens for a while, and download nothing."
    ),
    ids.of_client,
    option.history_address,
    option.token,
)
def media(**rest: Any) -> None:  # noqa: ANN401
    """Download the voice, video or image of MESSAGE; `history` shows which there are.

    MESSAGE may be the beginning of an id that no other one has.
    """
    run(_media(**rest))


async def _sessions(*, client_id: str, history_url: str, token: str | None, as_json: bool) -> None:
    shown = 0
    async with History(history_url, token=token) as service:
        async for session in service.sessions(client_id):
            if as_json:
                print_json(asdict(session))
            else:
                _show_session(session, first=not shown)
            shown += 1
    if not shown:
        notes().print(f"{escape(client_id)} has no conversations yet")


def _show_session(session: Session, *, first: bool) -> None:
    """Print a line for a session, or two on a terminal that has no room for one."""
    console = answers()
    rest = _shown(session.time_zone) + (f"  {_shown(session.title)}" if session.title else "")
    if console.is_terminal and console.width < ROOM_FOR_SESSIONS_COLUMNS:
        how_many = number_of(session.message_count, "message")
        console.print(f"{session.id}\n  {_local(session.started_at)}, {how_many}\n  {rest}")
        return
    if first:
        console.print(f"[bold]{'session':36}  {'started':19}  messages  time zone[/]")
    console.print(f"{session.id}  {_local(session.started_at)}  {session.message_count:8}  {rest}")


async def _history(
    *,
    client_id: str,
    session: str | None,
    last: int | None,
    save_to: Path | None,
    history_url: str,
    token: str | None,
    as_json: bool,
) -> None:
    async with History(history_url, token=token) as service:
        session_id = await (find_session(service, client_id, session) if session else _latest(service, client_id))
        if session_id is None:
            notes().print(f"{escape(client_id)} has no conversations yet")
            return
        if not as_json:
            await tell_times(service, session_id)
        async for message in service.messages(session_id, newest=last):
            saved = (
                {}
                if save_to is None
                else {part.part: await save_media(service, message, part, save_to) for part in message.media}
            )
            if as_json:
                shown = {**asdict(message), "saved": {part: str(path) for part, path in saved.items()}}
                print_json(shown)
            else:
                show_message(message, saved, history_url)


async def _search(
    *, words: tuple[str, ...], client_id: str, history_url: str, token: str | None, as_json: bool
) -> None:
    shown = 0
    async with History(history_url, token=token) as service:
        async for message in service.search(client_id, " ".join(words)):
            if as_json:
                print_json(asdict(message))
            else:
                show_message(message, {}, history_url)
            shown += 1
    if not shown:
        notes().print("no message holds all of these words")


async def _media(
    *,
    message_id: str,
    part: str,
    output: Path | None,
    address: bool,
    client_id: str | None,
    history_url: str,
    token: str | None,
) -> None:
    looked_through = ids.client_for(message_id, client_id)
    async with History(history_url, token=token) as service:
        message = await service.message(await find_message(service, looked_through, message_id))
        found = next((media for media in message.media if media.part == part), None)
        if found is None:
            there = ", ".join(media.part for media in message.media) or "none"
            raise Refused(404, "media_unknown", f"this message has no {part}; it has: {there}")
        if address:
            click.echo((await service.address(found)).url)
            return
        path = output or free_name(Path(), f"{message.id}-{part}", suffix_of(found.content_type))
        with progress(path.name, found.size_bytes) as came:
            await service.download(found, path, on_bytes=came)
    answers().print(escape(str(path)))


async def _latest(service: History, client_id: str) -> UUID | None:
    async for session in service.sessions(client_id):
        return session.id
    return None


async def save_media(service: History, message: Message, media: Media, folder: Path) -> Path:
    """Download a medium into a folder, unless it is there; return its path.

    Raises:
        ClientError: it cannot be had, or not be written.
    """
    path = folder / f"{message.id}-{media.part}{suffix_of(media.content_type)}"
    if not path.exists() or path.stat().st_size != media.size_bytes:  # an id never changes what it stands for
        with progress(path.name, media.size_bytes) as came:
            await service.download(media, path, on_bytes=came)
    return path


async def tell_times(service: History, session_id: UUID) -> None:
    """Say on a terminal which zone the times are of, once, where the conversation was in another one."""
    if not answers().is_terminal:
        return
    session = await service.session(session_id)
    here, there = local(session.started_at), _in_zone(session.started_at, session.time_zone)
    if there is None or there.utcoffset() != here.utcoffset():
        notes().print(f"[dim]times are those of this machine ({here:%z}); you were in {_shown(session.time_zone)}[/]")


def _in_zone(moment: datetime, name: str) -> datetime | None:
    try:
        return moment.astimezone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def show_message(message: Message, saved: dict[str, Path], history_url: str) -> None:
    """Print one message and what belongs to it."""
    console = answers()
    who = "[bold]you[/]" if message.direction == "request" else "[bold cyan]bot[/]"
    kind = f"[italic]{_shown(message.kind)}[/]" if message.text is None or message.transcribed else ""
    outcome = "" if message.outcome == "answered" else f"  [yellow]{_shown(message.outcome)}[/]"
    text = printable(message.text or "")
    print_hanging(
        console,
        f"[dim]{_local(message.sent_at)}[/]  {who}  {kind}{' ' if kind and text else ''}",
        text,
        tail=outcome,
        markdown=message.direction == "reply",
    )
    indent = " " * (2 if console.width < NARROW_COLUMNS else 26)
    for media in message.media:
        where = (
            f"  {escape(str(saved[media.part]))}"
            if media.part in saved
            else f"  {_command(history_url)} {message.id} {media.part}"
        )
        console.print(f"{indent}[dim]{media.part}, {size_of(media.size_bytes)}{where}[/]")


def _command(history_url: str) -> str:
    """Return what downloads media, so that it works when it is copied."""
    called = Path(sys.argv[0])
    on_path = shutil.which(called.name)
    if on_path is not None and Path(on_path).resolve() == called.resolve():
        program = called.name
    else:
        program = shlex.quote(os.path.relpath(called))
    where = "" if history_url == option.LOCAL_HISTORY else f" --history {shlex.quote(history_url)}"
    return f"{escape(program)} media{escape(where)}"


def _shown(text: str) -> str:
    return escape(printable(text))


def _local(moment: datetime) -> str:
    return local(moment).strftime("%Y-%m-%d %H:%M:%S")
