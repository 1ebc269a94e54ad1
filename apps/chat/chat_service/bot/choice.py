"""Which bot a pod has, by `CHAT_BOT`."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from botkit import BotNotFound, Responder, load_bot
from chat_service.bot.http import HttpBot
from chat_service.bot.names import BuiltInBot, built_in
from chat_service.bot.runner import BotObserver, BotRunner, CircuitBreaker
from chat_service.bot.script import ScriptError, load_script
from chat_service.bot.script_watch import follow_file, stamp_of
from chat_service.bot.scripted import ScriptedBot
from servicekit.tasks import background

if TYPE_CHECKING:
    from chat_service.settings import ChatSettings

MAX_PROMPT_BYTES = 64 * 1024


class CannotStartBot(Exception):
    """There is no such bot, or it does not start; the message names the setting."""


@asynccontextmanager
async def open_bot(settings: "ChatSettings", observer: BotObserver) -> AsyncIterator[BotRunner]:
    """Open the bot of the settings.

    Raises:
        CannotStartBot: it cannot be loaded, or does not start.
    """
    path = settings.bot_script
    stamp = stamp_of(path) if path else None
    try:
        script = load_script(path)
    except ScriptError as exc:
        raise CannotStartBot(f"CHAT_BOT_SCRIPT: {exc}") from exc
    async with AsyncExitStack() as stack:
        others = {name: await _open_other(name, settings, observer, stack) for name in sorted(script.bots)}
        scripted = ScriptedBot(script, others)
        if path is not None:
            await stack.enter_async_context(background(follow_file(path, scripted, stamp), name="bot-script"))
        is_script = settings.bot == BuiltInBot.SCRIPT
        runner = _runner(
            scripted if is_script else _bot(settings.bot, settings, observer),
            settings.bot,
            settings,
            observer,
            # A script is passed by for nothing: the bots that it hands over to have a breaker each.
            failures=sys.maxsize if is_script else settings.bot_breaker_failures,
            fallback=scripted if settings.bot_fallback and not is_script else None,
        )
        yield await _enter(runner, settings.bot, "CHAT_BOT", stack)


async def _open_other(name: str, settings: "ChatSettings", observer: BotObserver, stack: AsyncExitStack) -> BotRunner:
    """Open a bot that the script hands over to. Raises CannotStartBot."""
    bot = built_in(name)
    if bot is not None and settings.lacks_setting_of(bot):
        raise CannotStartBot(f"CHAT_BOT_SCRIPT: the script hands over to {bot}, which needs {bot.needs}")
    runner = _runner(_bot(name, settings, observer), name, settings, observer, settings.bot_breaker_failures, None)
    return await _enter(runner, name, "CHAT_BOT_SCRIPT", stack)


async def _enter(runner: BotRunner, name: str, variable: str, stack: AsyncExitStack) -> BotRunner:
    try:
        return await stack.enter_async_context(runner)
    except Exception as exc:
        raise CannotStartBot(f"{variable}: {name} does not start: {type(exc).__name__}: {exc}") from exc


def _runner(
    bot: Responder,
    name: str,
    settings: "ChatSettings",
    observer: BotObserver,
    failures: int,
    fallback: ScriptedBot | None,
) -> BotRunner:
    return BotRunner(
        bot,
        name=name,
        seconds=settings.bot_seconds,
        turns_at_once=settings.bot_turns,
        max_reply_characters=settings.bot_max_reply_characters,
        breaker=CircuitBreaker(failures, settings.bot_breaker_seconds),
        fallback=fallback,
        observer=observer,
    )


def _bot(name: str, settings: "ChatSettings", observer: BotObserver) -> Responder:
    bot = built_in(name)
    match bot:
        case BuiltInBot.HTTP:
            return _http(settings)
        case BuiltInBot.MODEL:
            return _model(settings, observer)
        case BuiltInBot.SCRIPT:
            raise AssertionError("the script is opened before all others")
        case None:
            return _own(name)
        case _:
            assert_never(bot)


def _http(settings: "ChatSettings") -> Responder:
    assert settings.bot_url is not None  # noqa: S101 - the settings were checked
    return HttpBot(str(settings.bot_url), secret=settings.bot_secret, max_characters=settings.bot_max_reply_characters)


def _own(name: str) -> Responder:
    try:
        return load_bot(name)
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
            request_seconds=settings.llm_request_seconds,
            images=settings.llm_images,
        ),
        on_tokens=lambda asked, replied: observer.used_tokens(BuiltInBot.MODEL, asked=asked, replied=replied),
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
