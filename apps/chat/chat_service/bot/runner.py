"""How a bot is run: in bounded time, so many turns at once, and passed by while it fails all the time."""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Final, Protocol, Self

from botkit import BotError, Memory, Reply, Responder, Turn, pieces
from chat_service.bot.reply import OnPiece, PendingReply, PresentablePieces, StreamingBot, presentable
from frameproto import FrameError, error_response
from servicekit.logs import get_logger

log = get_logger(__name__)

CUT: Final = "…"
FAILED: Final = "bot_failed"
# A bot that leaves the interpreter, as some libraries do when they give up, must not end the pod and all its clients.
BOT_FAILURES: Final = (Exception, SystemExit, KeyboardInterrupt, BaseExceptionGroup)
MAX_MESSAGE_CHARACTERS: Final = 500  # of what a bot says in place of a reply


class BotObserver(Protocol):
    """Hears of the turns of a bot."""

    def replied(self, bot: str, *, seconds: float, first_piece_seconds: float, pieces: int) -> None:
        """A bot replied."""

    def failed(self, bot: str, code: str) -> None:
        """A bot did not reply."""

    def used_tokens(self, bot: str, *, asked: int, replied: int) -> None:
        """A model told how many tokens a turn took."""


@dataclass(slots=True)
class CircuitBreaker:
    """Opens after so many failures in a row; then lets one turn through every so often, until one succeeds.

    Args:
        failures: how many in a row open it.
        seconds: how long it stays open before a turn is tried again.
        clock: monotonic seconds.
    """

    failures: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _in_a_row: int = 0
    _closed_until: float = field(default=0.0)

    def allows(self) -> bool:
        """Say whether a turn may be tried; one that may, once the circuit was open, keeps others out meanwhile."""
        if self._in_a_row < self.failures:
            return True
        if self.clock() < self._closed_until:
            return False
        self._closed_until = self.clock() + self.seconds
        return True

    def succeeded(self) -> None:
        """Close the circuit."""
        self._in_a_row = 0

    def failed(self) -> bool:
        """Count a failure; return whether the circuit opened with it."""
        self._in_a_row += 1
        self._closed_until = self.clock() + self.seconds
        return self._in_a_row == self.failures


class BotRunner:
    """Runs one bot; an asynchronous context manager that enters the bot.

    A bot that returns its reply at once costs no task and no timer. The time-out covers waiting for other turns, and
    the whole reply. A reply that the bot leaves to another bot has the limits of that bot's runner only, and counts
    as one piece: the pieces are those of the other bot.

    Args:
        bot: who replies.
        name: how metrics and logs call it.
        seconds: how long one turn may take.
        turns_at_once: how many turns may be under way; more wait.
        max_reply_characters: longer replies are cut.
        breaker: when the bot is passed by.
        fallback: who replies meanwhile; None: the turn fails at once.
        observer: hears of each turn.
    """

    def __init__(
        self,
        bot: Responder,
        *,
        name: str,
        seconds: float,
        turns_at_once: int,
        max_reply_characters: int,
        breaker: CircuitBreaker,
        fallback: StreamingBot | None,
        observer: BotObserver,
    ) -> None:
        self._bot = bot
        self._name = name
        self._seconds = seconds
        self._places = asyncio.Semaphore(turns_at_once)
        self._max_characters = max_reply_characters
        self._breaker = breaker
        self._fallback = fallback
        self._observer = observer

    async def __aenter__(self) -> Self:
        """Enter the bot, if it wants to be entered."""
        if hasattr(self._bot, "__aenter__"):
            await self._bot.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the bot."""
        if hasattr(self._bot, "__aexit__"):
            await self._bot.__aexit__(kind, error, traceback)

    def reply(self, turn: Turn, memory: Memory, on_piece: OnPiece | None = None, /) -> str | PendingReply:
        """Return the whole reply when the bot gives it at once, and otherwise what is to be awaited for it.

        `on_piece` gets the pieces of a reply that comes in pieces, as they come.

        Raises:
            BotError: `bot_failed` or `bot_timeout`, or what the bot itself says; also raised by what is awaited.
        """
        if not self._breaker.allows():
            return self._fall_back(turn, memory, on_piece)
        began = time.monotonic()
        try:
            reply = self._bot.reply(turn, memory)
            if not isinstance(reply, str):
                return PendingReply(partial(self._wait_for, began, reply), partial(_close, reply), on_piece)
            text = self._finish(began, time.monotonic(), [reply])
        except (*BOT_FAILURES, asyncio.CancelledError) as exc:
            raise self._failed(exc) from exc
        self._breaker.succeeded()
        return text

    async def _wait_for(
        self, began: float, reply: AsyncIterable[str] | Awaitable[Reply], on_piece: OnPiece | None
    ) -> str:
        try:
            try:
                if isinstance(reply, PendingReply):
                    text = await self._relay(began, reply, on_piece)
                else:
                    async with asyncio.timeout(self._seconds), self._places:
                        text = await self._collect(began, reply, on_piece)
            finally:
                _close(reply)  # of one that never had its turn
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self._failed(exc) from exc  # something that the bot waited for was cancelled, not the turn
        except BOT_FAILURES as exc:
            raise self._failed(exc) from exc
        self._breaker.succeeded()
        return text

    def _failed(self, exc: BaseException) -> BotError:
        """Count and log why there is no reply; return it in words for the client."""
        match exc:
            case TimeoutError():
                why = f"the bot took longer than {self._seconds:g} seconds; send it again"
                failure = BotError(why, code="bot_timeout", retryable=True)
            case BotError():
                failure = _sendable(exc)
            case _:
                log.error("bot.bug", bot=self._name, exc_info=exc)
                failure = BotError("the bot failed to reply; send it again", retryable=True)
        self._observer.failed(self._name, failure.code)
        log.warning("bot.failed", bot=self._name, code=failure.code, reason=str(failure))
        if self._breaker.failed():
            log.warning("bot.passed_by", bot=self._name, fallback=self._fallback is not None)
        return failure

    async def _relay(self, began: float, reply: PendingReply, on_piece: OnPiece | None) -> str:
        """Wait for the reply of another runner."""
        first_at: float | None = None

        def hand_on(piece: str) -> None:
            nonlocal first_at
            if first_at is None:
                first_at = time.monotonic()
            if on_piece is not None:
                on_piece(piece)

        text = await reply.wait(hand_on)
        return self._finish(began, time.monotonic() if first_at is None else first_at, [text])

    async def _collect(
        self, began: float, reply: AsyncIterable[str] | Awaitable[Reply], on_piece: OnPiece | None
    ) -> str:
        coming = await reply if isawaitable(reply) else reply
        if isinstance(coming, str):
            return self._finish(began, time.monotonic(), [coming])
        hand_on = PresentablePieces(on_piece, self._max_characters).add if on_piece is not None else None
        said: list[str] = []
        characters = 0
        first_at = began
        async with aclosing(pieces(coming)) as coming_pieces:
            async for piece in coming_pieces:
                if not said:
                    first_at = time.monotonic()
                said.append(piece)
                characters += len(piece)
                if hand_on is not None:
                    hand_on(piece)
                if characters > self._max_characters:
                    break
        return self._finish(began, first_at, said)

    def _finish(self, began: float, first_at: float, said: list[str]) -> str:
        text = "".join(said)
        if not text.strip():
            raise BotError("the bot had nothing to say; put it another way", retryable=False)
        now = time.monotonic()
        self._observer.replied(self._name, seconds=now - began, first_piece_seconds=first_at - began, pieces=len(said))
        return text if len(text) <= self._max_characters else text[: self._max_characters - 1] + CUT

    def _fall_back(self, turn: Turn, memory: Memory, on_piece: OnPiece | None) -> str | PendingReply:
        if self._fallback is None:
            raise BotError("the bot does not answer at present; send it again in a minute", retryable=True)
        return self._fallback.reply(turn, memory, on_piece)


def _close(reply: AsyncIterable[str] | Awaitable[Reply]) -> None:
    """Close a coroutine, or what stands for one; nothing happens to one that has ended."""
    close = getattr(reply, "close", None)
    if close is not None:
        close()


def _sendable(failure: BotError) -> BotError:
    """Return a bot's error as an error frame can say it: code and words are the bot's own, and may be anything."""
    message = presentable(str(failure))[:MAX_MESSAGE_CHARACTERS]
    try:
        is_code = error_response(failure.code, message or "-").error_code == failure.code
    except FrameError:
        is_code = False
    code = failure.code if is_code else FAILED
    if not message:
        return BotError(code=code, retryable=failure.retryable)
    return BotError(message, code=code, retryable=failure.retryable)
