"""Options that several commands share.

`permits.cli.options` repeats some of this code, because `permits` depends on no other package of this project.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click

from chat_client.cli.config import read_config
from chat_client.errors import ClientError
from chat_client.zone import local_zone
from frameproto import DEFAULT_MAX_FRAME_BYTES

LOCAL_HISTORY: Final = "http://127.0.0.1:8001"
URL_VARIABLE: Final = "CHAT_URL"
TOKEN_VARIABLE: Final = "CHAT_TOKEN"  # noqa: S105 - the name of a variable

LOOKS_LIKE_ADDRESS: Final = re.compile(r"(wss?|https?)://|[\w.-]+:\d+(/|$)|\[[0-9a-fA-F:]+\]")

Command = Callable[..., Any]


class Utf8(click.ParamType[str]):
    """Text in UTF-8, also under a POSIX locale, where Python passes its bytes as surrogates."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail for bytes that are not UTF-8."""
        try:
            return value.encode(errors="surrogateescape").decode()
        except UnicodeError:
            self.fail("is not UTF-8", param, ctx)


TEXT: Final = Utf8()


def _local_time_zone() -> str:
    """Return the zone of this machine; say so when it is not what the machine says word for word."""
    zone = local_zone()
    if zone.note:
        click.echo(f"time zone: {zone.note}", err=True)
    return zone.name


def token_in(path: Path) -> str:
    """Return what a file holds of a token; nothing when it cannot be read."""
    try:
        return str(path.read_text("utf-8-sig").encode("ascii"), "ascii").strip()
    except (OSError, UnicodeError):
        return ""


def token_of_file(_context: click.Context, _option: click.Parameter, path: Path | None) -> str | None:
    """Return the token in a file, where one is named."""
    return None if path is None else _usable(token_in(path), str(path))


def _token(context: click.Context, given: click.Parameter, path: Path | None) -> str | None:
    """Return the token in a file, or in the variable."""
    if path is not None:
        return token_of_file(context, given, path)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return _usable(token, TOKEN_VARIABLE) if token else None


def _usable(token: str, where: str) -> str:
    """Return a token; whatever could not be put into a header is none."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise click.BadParameter(f"{where} does not hold a token")
    return token


def _history(context: click.Context, _option: click.Parameter, given: str | None) -> str:
    """Return the address of history: as it was said, as the chat service of CHAT_URL says, or that of this machine."""
    chat_url = os.environ.get(URL_VARIABLE, "").strip() or read_config().get("url")
    if given or not chat_url or context.resilient_parsing:
        return given or LOCAL_HISTORY
    from chat_client.installation import learn_history_address  # noqa: PLC0415 - only where it is needed

    try:
        return learn_history_address(chat_url)
    except ClientError as exc:
        click.echo(f"error {exc}", err=True)
        raise SystemExit(exc.exit_code) from exc


address = click.argument("url", type=TEXT, envvar=URL_VARIABLE)

client_id = click.option(
    "--client-id",
    type=TEXT,
    required=True,
    envvar="CHAT_CLIENT_ID",
    show_envvar=True,
    help="Your client id: 1 to 64 letters, digits or . _ : -",
)

time_zone = click.option(
    "--time-zone",
    type=TEXT,
    default=_local_time_zone,
    envvar="CHAT_TIME_ZONE",
    show_envvar=True,
    help="Your time zone: Europe/Berlin, +07:00.  [default: the zone of this machine]",
)

history_address = click.option(
    "--history",
    "history_url",
    type=TEXT,
    callback=_history,
    envvar="CHAT_HISTORY_URL",
    show_envvar=True,
    metavar="URL",
    help=f"Address of history.  [default: the one that the chat service at {URL_VARIABLE} names, or {LOCAL_HISTORY}]",
)

history_of_chat = click.option(
    "--history",
    "history_url",
    type=TEXT,
    envvar="CHAT_HISTORY_URL",
    show_envvar=True,
    metavar="URL",
    help="Address of history.  [default: the one that the chat service names]",
)

token = click.option(
    "--token-file",
    "token",
    callback=_token,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    envvar="CHAT_TOKEN_FILE",
    show_envvar=True,
    help=f"A file with your token, if the server needs one; without it, the variable {TOKEN_VARIABLE}.",
)

save_to = click.option(
    "--save-to",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("replies"),
    show_default=True,
    help="Folder for the voices and pictures of the replies.",
)

max_bytes = click.option(
    "--max-bytes",
    type=click.IntRange(min=2),
    default=DEFAULT_MAX_FRAME_BYTES,
    show_default=True,
    help="The largest message that the server accepts.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line, for other programs.")


def known_address(url: str, words: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return the address and the other words of a command line on which the address may be left out.

    It may be where the variable or the config file has one. What does not look like an address is then the first of the
    words.
    """
    known = os.environ.get(URL_VARIABLE, "").strip() or read_config().get("url")
    if known and not LOOKS_LIKE_ADDRESS.match(url):
        return known, (url, *words)
    return url, tuple(words)


def options(*these: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options to a command, shown in this order."""

    def add(command: Command) -> Command:
        for option in reversed(these):
            command = option(command)
        return command

    return add
