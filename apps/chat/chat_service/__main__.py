"""Run one chat pod: `python -m chat_service`. Settings are environment variables; `--help` lists them."""

import sys

import servicekit.early_stop  # noqa: F401 - signals are heard from here on
from chat_service.app import QUIET_LIBRARIES, open_chat
from chat_service.bot.choice import CannotStartBot
from chat_service.media.base import MediaError
from chat_service.outbox import OutboxError
from chat_service.settings import ChatSettings
from servicekit import logs
from servicekit.runner import run, serve
from servicekit.settings import load

EXIT_FAILURE = 1


async def main(settings: ChatSettings) -> int:
    """Serve until told to stop; return the exit code."""
    try:
        async with open_chat(settings) as chat:
            most = settings.http_max_connections
            return await serve(chat.listeners(), chat.drain, settings.drain_seconds, max_connections=most)
    except (OutboxError, MediaError, CannotStartBot) as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_FAILURE


if __name__ == "__main__":
    loaded = load(
        ChatSettings,
        prog="python -m chat_service",
        description="One pod of the chat service: clients connect to /connect over WebSocket and are answered.",
    )
    logs.configure(loaded.log_level, loaded.log_format, quiet=QUIET_LIBRARIES)
    sys.exit(run(main(loaded)))
