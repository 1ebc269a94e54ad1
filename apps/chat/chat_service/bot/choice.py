"""Which bot a pod has, by `CHAT_BOT`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from botkit import BotNotFound, Responder, load_bot
from chat_service.bot.http import HttpBot
from chat_service.bot.runner import BotObserver, BotRunner, CircuitBreaker
from chat_service.bot.scripted import ScriptedBot

if TYPE_CHECKING:
    from chat_service.settings import ChatSettings

SCRIPT = "script"
HTTP = "http"


class CannotStartBot(Exception):
    """There is no such bot, or it does not start; the message names the setting."""


@asynccontextmanager
async def open_bot(settings: "ChatSettings", observer: BotObserver) -> AsyncIterator[BotRunner]:
    """Open the bot of the settings.

    Raises:
        CannotStartBot: it cannot be loaded, or does not start.
    """
    script = ScriptedBot(settings.load_script())
    bot = _bot(settings, script)
    runner = BotRunner(
        bot,
        name=settings.bot,
        seconds=settings.bot_seconds,
        turns_at_once=settings.bot_turns,
        max_reply_characters=settings.bot_max_reply_characters,
        breaker=CircuitBreaker(settings.bot_breaker_failures, settings.bot_breaker_seconds),
        fallback=script if settings.bot_fallback and bot is not script else None,
        observer=observer,
    )
    try:
        await runner.__aenter__()
    except Exception as exc:
        raise CannotStartBot(f"CHAT_BOT: {settings.bot} does not start: {type(exc).__name__}: {exc}") from exc
    try:
        yield runner
    finally:
        await runner.__aexit__(None, None, None)


def _bot(settings: "ChatSettings", script: ScriptedBot) -> Responder:
    if settings.bot == SCRIPT:
        return script
    if settings.bot == HTTP:
        assert settings.bot_url is not None  # noqa: S101 - the settings were checked
        return HttpBot(
            str(settings.bot_url), secret=settings.bot_secret, max_characters=settings.bot_max_reply_characters
        )
    try:
        return load_bot(settings.bot)
    except BotNotFound as exc:
        raise CannotStartBot(f"CHAT_BOT: {exc}") from exc
