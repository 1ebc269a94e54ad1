"""`chatbot-bot`: try a bot at a terminal, without a server."""

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path

import click

from botkit.errors import BotError, BotNotFound
from botkit.loading import load_bot
from botkit.responder import pieces
from botkit.testing import BotClient
from frameproto import RequestKind

EXIT_FAILURE = 1


@click.group()
def main() -> None:
    """Work on a bot of your own."""


@main.command("try")
@click.argument("name")
@click.option("--client-id", default="you", show_default=True, help="Who the bot is told it talks to.")
def try_bot(name: str, client_id: str) -> None:
    r"""Talk to the bot NAME (module:attribute) a line at a time; the end of the input ends it.

    \b
    Examples:
      chatbot-bot try my_bot:bot
      printf 'hello\nbye\n' | chatbot-bot try my_bot:bot
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        bot = load_bot(name)
    except BotNotFound as exc:
        raise click.ClickException(str(exc)) from exc
    failures = asyncio.run(_talk(BotClient(bot, client_id=client_id)))
    sys.exit(EXIT_FAILURE if failures else os.EX_OK)


async def _talk(conversation: BotClient) -> int:
    """Reply to each line of the standard input; return how many turns failed."""
    failures = 0
    prompt = "> " if sys.stdin.isatty() else ""
    async with conversation:
        while True:
            click.echo(prompt, nl=False)
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                return failures
            if not line.strip():
                continue
            conversation.local_time = datetime.now().astimezone()
            try:
                await _turn(conversation, line.strip())
            except BotError as exc:
                failures += 1
                again = "; the same message may be answered later" if exc.retryable else ""
                click.echo(f"\n{exc.code}: {exc}{again}", err=True)
            except Exception as exc:  # noqa: BLE001 - whatever a bot of somebody's own raises is shown, and the talk goes on
                failures += 1
                click.echo(f"\nthe bot raised {type(exc).__name__}: {exc}", err=True)


async def _turn(conversation: BotClient, text: str) -> None:
    turn = conversation.turn(RequestKind.TEXT, text=text)
    said = []
    async for piece in pieces(conversation.bot.reply(turn, conversation.memory)):
        click.echo(piece, nl=False)
        said.append(piece)
    click.echo()
    conversation.memory.add(turn, "".join(said))
