"""A bot that is a language model behind the chat API of OpenAI, which most model servers speak (docs/bots.md)."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import openai
from openai import AsyncOpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from botkit import BotError, Memory, Speaker, Turn
from servicekit.logs import get_logger

log = get_logger(__name__)

BYTES_PER_TOKEN: Final = 4  # of English; other languages and emoji take more tokens, so a budget is an estimate
TOKENS_PER_MESSAGE: Final = 4  # what a message costs beside its words
ROLES: Final = {Speaker.CLIENT: "user", Speaker.BOT: "assistant"}
DEFAULT_PROMPT: Final = (
    "You are a friendly assistant in a chat. Answer in the language of the user, in at most a few sentences, "
    "as plain text without Markdown. Some replies are read aloud."
)
NOT_CONFIGURED: Final = "the bot's model does not accept this service; an operator has to look at its settings"
OPERATOR_STATUSES: Final = frozenset({401, 402, 403, 404, 405})
PASSING_STATUSES: Final = frozenset({408, 409, 425})  # with these, too, sending it again may help
JSON: Final = "application/json"
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024  # of a server that does not stream; it is in memory as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model is asked, and how.

    Attributes:
        base_url: of the API, up to and with `/v1`.
        api_key: what the API asks for; many servers of one's own take any.
        model: its name.
        prompt: what the model is told before each conversation.
        temperature: 0 to 2; None: the server's own.
        reply_tokens: the longest reply; None: the server's own.
        context_tokens: how much of the conversation goes along, as an estimate of four bytes each.
        attempts: how often a request is tried that failed before its first words; `Retry-After` is honoured.
        request_seconds: how long to wait for the next words.
        images: whether the model is shown a frame of a video.
    """

    base_url: str
    api_key: str
    model: str
    prompt: str = DEFAULT_PROMPT
    temperature: float | None = None
    reply_tokens: int | None = None
    context_tokens: int = 4000
    attempts: int = 3
    request_seconds: float = 30.0
    images: bool = False


class ModelBot:
    """Asks a model for each reply and yields its words as they come; an asynchronous context manager.

    Args:
        settings: which model, and how.
        on_tokens: hears of the tokens of each turn, of the question and of the reply, where the server tells them.
    """

    def __init__(self, settings: ModelSettings, on_tokens: Callable[[int, int], None] | None = None) -> None:
        self._settings = settings
        self._on_tokens = on_tokens
        self._client = AsyncOpenAI(
            base_url=settings.base_url,
            api_key=settings.api_key,
            timeout=settings.request_seconds,
            max_retries=settings.attempts - 1,
        )

    async def __aenter__(self) -> Self:
        """Do nothing; connections are opened when they are needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.close()

    async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
        """Yield what the model says.

        Raises:
            BotError: the model cannot be reached, refuses, or breaks off.
        """
        settings = self._settings
        options: dict[str, Any] = {}
        if settings.temperature is not None:
            options["temperature"] = settings.temperature
        if settings.reply_tokens is not None:
            options["max_tokens"] = settings.reply_tokens
        try:
            chunks = await self._client.chat.completions.create(
                model=settings.model,
                messages=list(self._messages(turn, memory)),
                stream=True,
                stream_options={"include_usage": True},
                **options,
            )
            async with chunks:
                form = chunks.response.headers.get("content-type", "").partition(";")[0].strip().lower()
                parts = _whole_answer(chunks.response) if form == JSON else chunks
                async for words in self._words(parts):
                    yield words
        except openai.APIStatusError as exc:
            raise _refusal(exc) from exc
        except (openai.OpenAIError, ValueError) as exc:
            log.warning("bot.model_failed", reason=_reason(exc))
            if isinstance(exc, openai.APIError) and not isinstance(exc, openai.APIConnectionError):
                raise BotError("the bot's model has a fault; send it again", retryable=True) from exc
            raise BotError("the bot's model cannot be reached; send it again", retryable=True) from exc

    async def _words(self, chunks: AsyncIterator[object]) -> AsyncIterator[str]:
        finished, usage, is_chat = None, None, False
        async for chunk in chunks:
            if not isinstance(chunk, ChatCompletionChunk):
                continue  # some other JSON
            usage = chunk.usage or usage
            for choice in chunk.choices or ():
                is_chat = True
                finished = choice.finish_reason or finished
                # One without words, a server may leave out whole; one that does not stream calls it a message.
                if words := _text(getattr(choice, "delta", None) or getattr(choice, "message", None)):
                    yield words
        self._tell_tokens(usage)
        if not is_chat:
            log.warning(
                "bot.model_failed", reason="its answer is no chat completion; does CHAT_LLM_BASE_URL end in /v1?"
            )
        match finished:
            case None:
                raise BotError("the bot's model broke off in the middle; send it again", retryable=True)
            case "content_filter":
                raise BotError("the bot's model does not want to answer that; put it another way", retryable=False)
            case "length":
                yield "…"
            case _:
                pass

    def _tell_tokens(self, usage: CompletionUsage | None) -> None:
        """Report what a turn took; a server that tells it with each chunk counts on, so the last one holds."""
        if usage is None or self._on_tokens is None:
            return
        counts: tuple[Any, Any] = usage.prompt_tokens, usage.completion_tokens
        if all(isinstance(count, int) and count >= 0 for count in counts):
            self._on_tokens(*counts)

    def _messages(self, turn: Turn, memory: Memory) -> Iterator[Any]:
        now = f"{turn.local_time:%A, %d %B %Y, %H:%M}"
        yield {
            "role": "system",
            "content": f"{self._settings.prompt}\n\nFor the user it is {now} ({turn.local_time.tzinfo}).",
        }
        asked = turn.describe()
        left = self._settings.context_tokens - _tokens(asked)
        kept = []
        for said in reversed(list(memory)):
            left -= _tokens(said.text)
            if left < 0:
                break
            kept.append({"role": ROLES[said.speaker], "content": said.text})
        yield from reversed(kept)
        yield {"role": "user", "content": self._content(turn, asked)}

    def _content(self, turn: Turn, asked: str) -> Any:  # noqa: ANN401 - text, or a list of parts
        if turn.video is None or not self._settings.images:
            return asked
        poster = base64.b64encode(turn.video.picture).decode()
        return [
            {"type": "text", "text": asked},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{poster}"}},
        ]


async def _whole_answer(response: Any) -> AsyncIterator[object]:  # noqa: ANN401 - of one HTTP library or another
    """Yield the answer of a server that does not stream. Raises ValueError."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                break
    except Exception as exc:  # that library's own
        raise ValueError(f"its answer broke off: {exc}") from exc
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
    try:
        document = json.loads(body)
    except RecursionError as exc:
        raise ValueError("its answer is nested too deeply") from exc
    if isinstance(document, dict):
        yield ChatCompletionChunk.construct(**document)


def _text(said: object) -> str:
    """Return the words of a part of an answer: a string, or a list of parts; also those with which a model declines."""
    fields = said if isinstance(said, dict) else vars(said) if isinstance(said, BaseModel) else {}
    content = fields.get("content") or fields.get("refusal")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and _is_text(part))
    return content if isinstance(content, str) else ""


def _is_text(part: dict[str, object]) -> bool:
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _reason(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc.__cause__ or exc}"[:300]


def _tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE


def _refusal(exc: openai.APIStatusError) -> BotError:
    """Turn an answer of the API into what a client is told; the log has more."""
    log.warning("bot.model_refused", status=exc.status_code, reason=str(exc)[:300])
    if exc.status_code in OPERATOR_STATUSES:
        return BotError(NOT_CONFIGURED, retryable=False)
    if exc.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return BotError("the bot's model has too much to do; send it again in a minute", retryable=True)
    if exc.status_code in PASSING_STATUSES or exc.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BotError("the bot's model has a fault; send it again", retryable=True)
    return BotError("the bot's model did not accept this message", retryable=False)
