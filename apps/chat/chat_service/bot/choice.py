"""Which bot a pod has, by `CHAT_BOT`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from botkit import BotNotFound, Responder, load_bot
from chat_service.bot.http import HttpBot
from chat_service.bot.runner import BotObserver, BotRunner, CircuitBreaker
from chat_service.bot.script import ScriptError, load_script
from chat_service.bot.scripted import ScriptedBot

if TYPE_CHECKING:
    from chat_service.settings import ChatSettings

SCRIPT = "script"
HTTP = "http"
MODEL = "llm"
MAX_PROMPT_BYTES = 64 * 1024


class CannotStartBot(Exception):
    """There is no such bot, or it does not start; the message names the setting."""


@asynccontextmanager
async def open_bot(settings: "ChatSettings", observer: BotObserver) -> AsyncIterator[BotRunner]:
    """Open the bot of the settings.

    Raises:
        CannotStartBot: it cannot be loaded, or does not start.
    """
    try:
        script = ScriptedBot(load_script(settings.bot_script))
    except ScriptError as exc:
        raise CannotStartBot(f"CHAT_BOT_SCRIPT: {exc}") from exc
    bot = _bot(settings, script, observer)
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
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(runner)
        except Exception as exc:
            raise CannotStartBot(f"CHAT_BOT: {settings.bot} does not start: {type(exc).__name__}: {exc}") from exc
        yield runner


def _bot(settings: "ChatSettings", script: ScriptedBot, observer: BotObserver) -> Responder:
    if settings.bot == SCRIPT:
        return script
    if settings.bot == HTTP:
        assert settings.bot_url is not None  # noqa: S101 - the settings were checked
        return HttpBot(
            str(settings.bot_url), secret=settings.bot_secret, max_characters=settings.bot_max_reply_characters
        )
    if settings.bot == MODEL:
        return _model(settings, observer)
    try:
        return load_bot(settings.bot)
    except BotNotFound as exc:
        raise CannotStartBot(f"CHAT_BOT: {exc}") from exc


def _model(settings: "ChatSettings", observer: BotObserver) -> Responder:
    try:
        from chat_service.bot.llm import DEFAULT_PROMPT, ModelBot, ModelSettings  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        raise CannotStartBot(
            f"CHAT_BOT=llm needs the package {exc.name}: pip install 'chatbot-chat[llm]', or ./taskw setup:run"
        ) from exc
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    if settings.llm_api_key_file is not None:
        key = _read("CHAT_LLM_API_KEY_FILE", settings.llm_api_key_file)
    prompt = DEFAULT_PROMPT
    if settings.llm_prompt_file is not None:
        prompt = _read("CHAT_LLM_PROMPT_FILE", settings.llm_prompt_file)
    return ModelBot(
        ModelSettings(
            base_url=str(settings.llm_base_url),
            api_key=key or "none",
            model=settings.llm_model,
            prompt=prompt,
            temperature=settings.llm_temperature,
            reply_tokens=settings.llm_reply_tokens,
            context_tokens=settings.llm_context_tokens,
            attempts=settings.llm_attempts,
            request_seconds=settings.llm_request_seconds,
            images=settings.llm_images,
        ),
        on_tokens=lambda asked, replied: observer.used_tokens(settings.bot, asked=asked, replied=replied),
    )


def _read(variable: str, path: Path) -> str:
    """Read a small text file that a setting names. Raises CannotStartBot."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PROMPT_BYTES + 1)
        if len(raw) > MAX_PROMPT_BYTES:
            raise CannotStartBot(f"{variable}: {path} is larger than {MAX_PROMPT_BYTES // 1024} KiB; shorten it")
        text = raw.decode("utf-8-sig").strip()
    except OSError as exc:
        raise CannotStartBot(f"{variable}: {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise CannotStartBot(f"{variable}: {path} is not UTF-8; save it as UTF-8") from exc
    if not text:
        raise CannotStartBot(f"{variable}: {path} is empty")
    return text
