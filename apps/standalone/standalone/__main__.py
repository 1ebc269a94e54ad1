"""Run the chatbot on this machine: `python -m standalone`, or `./taskw run`.

Chat and history run in one event loop on ports of their own and speak the same HTTP as in a cluster. Unless the
settings say otherwise, permits live in this process, messages in SQLite, media in a folder.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import servicekit.early_stop  # noqa: F401 - signals are heard from here on
from chat_service import app as chat_app
from chat_service.app import open_chat
from chat_service.bot.choice import CannotStartBot
from chat_service.media.base import MediaError
from chat_service.outbox import OutboxError
from history_service import app as history_app
from history_service.app import open_history
from history_service.settings import HistorySettings
from servicekit import logs
from servicekit.runner import Address, run, serve
from servicekit.settings import EXIT_USAGE, load_all
from standalone.delivery_token import StandaloneChatSettings, delivery_token
from standalone.web import with_own_history
from standalone.welcome import reachable, welcome


async def main(
    chat_settings: StandaloneChatSettings, history_settings: HistorySettings, token: Callable[[], str] | None
) -> int:
    """Serve until told to stop; return the exit code."""
    history_url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ready(addresses: Sequence[Address]) -> None:
        at = {address.name: reachable(address) for address in addresses}
        history_url.set_result(f"http://{at['history']}")
        sys.stdout.write(welcome(at, chat_settings, history_settings))
        sys.stdout.flush()

    async with AsyncExitStack() as stack:
        history = await stack.enter_async_context(open_history(history_settings))
        url = history_url if chat_settings.uses_own_history else None
        chat = await stack.enter_async_context(open_chat(chat_settings, history_url=url, history_token=token))

        async def drain() -> bool:
            delivered = await chat.drain()  # history must still be there to take the rest
            return await history.drain() and delivered

        return await serve(
            [*chat.listeners(), *history.listeners()],
            drain,
            chat_settings.drain_seconds,
            ready=ready,
            close_seconds=history_settings.drain_seconds,  # requests to history that are under way
            max_connections=chat_settings.http_max_connections,
        )


if __name__ == "__main__":
    chat, history = load_all(
        (StandaloneChatSettings, HistorySettings),
        prog="python -m standalone",
        description="The whole chatbot in one process: chat and history on loopback ports, with embedded stores.",
    )
    logs.configure(chat.log_level, chat.log_format, quiet=(*chat_app.QUIET_LIBRARIES, *history_app.QUIET_LIBRARIES))
    chat, history = with_own_history(chat, history)
    try:
        token = delivery_token(chat, history)
    except ValueError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(EXIT_USAGE)
    try:
        sys.exit(run(main(chat, history, token)))
    except (OutboxError, MediaError, CannotStartBot) as exc:
        sys.exit(str(exc))
