"""A script that changes while the service runs: the new one is followed once it is right, the old one until then."""

import asyncio
from pathlib import Path
from typing import Final

from botkit import BotNotFound
from chat_service.bot.script import ScriptError, load_script
from chat_service.bot.scripted import ScriptedBot
from servicekit.logs import get_logger

log = get_logger(__name__)

WATCH_SECONDS: Final = 1.0

Stamp = tuple[int, int, int]
"""What changes with a file: its inode, size and time. Kubernetes replaces a mounted file by another one."""


async def follow_file(path: Path, bot: ScriptedBot, seen: Stamp | None, *, seconds: float = WATCH_SECONDS) -> None:
    """Look at a script again and again, and have the bot follow it when it has changed; runs until cancelled.

    A script with a mistake changes nothing but the log, which has one line for each version of it.

    Args:
        path: the script.
        bot: who follows it.
        seen: the stamp of the file from before it was read.
        seconds: how often it is looked at.
    """
    stamp = seen
    while True:
        await asyncio.sleep(seconds)
        before, stamp = stamp, await asyncio.to_thread(stamp_of, path)
        if stamp != before or stamp in {seen, None}:  # still being written, not changed, or about to be replaced
            continue
        seen = stamp
        try:
            script = await asyncio.to_thread(load_script, path)
            bot.follow(script)
        except (ScriptError, BotNotFound) as exc:
            log.error("bot.script_refused", reason=str(exc), consequence="the script before it is followed")  # noqa: TRY400
        else:
            log.info("bot.script_reloaded", file=str(path), rules=len(script.rules))


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file; None while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
