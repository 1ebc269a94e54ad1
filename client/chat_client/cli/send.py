"""`chat-client send`: one or several messages of one kind, then goodbye."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import click

from chat_client.cli import ids
from chat_client.cli import options as option
from chat_client.cli.output import run, show_reply
from chat_client.cli.terminal_chat import ConnectOptions, TerminalChat
from chat_client.content import Upload
from chat_client.errors import FileError
from chat_client.files import read_upload, whole_message
from frameproto import MediaPart, RequestKind
from frameproto.media import OWN_FORMATS

COMMON = (
    option.client_id,
    option.time_zone,
    ids.to_go_on_with,
    option.token,
    option.save_to,
    option.max_bytes,
    option.as_json,
)
FILES = click.argument("files", nargs=-1, type=click.Path(path_type=Path))


@click.group()
def send() -> None:
    """Send text, voice notes or videos, print the replies, save their media, and end."""


@send.command()
@option.options(option.address, click.argument("words", nargs=-1), *COMMON)
def text(url: str, words: tuple[str, ...], **rest: Any) -> None:  # noqa: ANN401 - the options of every command
    """Send WORDS as one text; without any, or with "-", what stands on standard input."""
    url, words = option.known_address(url, words)

    def texts(max_bytes: int) -> Iterator[tuple[str, bytes]]:
        content = " ".join(words)
        given: BinaryIO = BytesIO(content.encode(errors="surrogateescape"))
        if content in {"", "-"}:
            given = sys.stdin.buffer if sys.stdin else BytesIO()
        data = whole_message(given, "the text", max_bytes).strip()
        if not data:
            raise FileError("the text is empty")
        yield "text", data

    run(_send(RequestKind.TEXT, texts, url=url, **rest))


Contents = Callable[[int], Iterator[tuple[str, bytes]]]
"""Yields names and contents, each up to a number of bytes."""


def _reading(names: Sequence[str]) -> Contents:
    if not names:
        raise click.UsageError("which files? Name at least one")
    return lambda max_bytes: ((Path(name).name, read_upload(Path(name), max_bytes)) for name in names)


def _command(kind: RequestKind, part: MediaPart) -> click.Command:
    """Return the command that sends files of one kind."""

    @option.options(option.address, FILES, *COMMON)
    def send_files(url: str, files: tuple[Path, ...], **rest: Any) -> None:  # noqa: ANN401
        url, names = option.known_address(url, map(str, files))
        run(_send(kind, _reading(names), url=url, **rest))

    own = OWN_FORMATS[part].label
    sentence = f"Send {kind.description}s: {own} FILES, one after the other."
    return click.command(kind.message_kind.value, help=sentence)(send_files)


for _kind in RequestKind:
    if _kind.part is not None:
        send.add_command(_command(_kind, _kind.part))


async def _send(kind: RequestKind, contents: Contents, **given: Any) -> int:  # noqa: ANN401 - those of ConnectOptions
    options = ConnectOptions(**given)
    chat = TerminalChat(options, patience_seconds=0, greets=False)
    chat.session_id = await ids.session_to_go_on_with(
        options.session, client_id=options.client_id, token=options.token, chat_url=options.url
    )
    worst = 0
    try:
        await chat.open()
        for name, content in contents(options.max_bytes - 1):
            started = time.monotonic()
            reply = await chat.say(Upload(kind, content), name)
            assert reply is not None  # noqa: S101 - only a message that was taken back has none
            took = time.monotonic() - started
            worst = max(worst, show_reply(reply, options.save_to, as_json=options.as_json, seconds=took))
    finally:
        await chat.leave()
    return worst
