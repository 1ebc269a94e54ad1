"""How one message becomes a reply: decode it, let the bot reply, render what the bot said.

The three steps are apart because they run differently: media is decoded and rendered side by side, while the bot's
turns of one conversation run in order. A text and a bot that replies at once need no task for any of them.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from botkit import BotError, Turn
from chat_service.bot.reply import SPEECHLESS, presentable
from chat_service.media.base import MediaError
from frameproto import Request, RequestKind, Response
from frameproto.kinds import MediaPart
from servicekit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from datetime import datetime
    from uuid import UUID

    from botkit import Memory
    from chat_service.bot.reply import OnPiece
    from chat_service.hours import OpeningHours
    from chat_service.media.base import MediaProcessor

log = get_logger(__name__)


class OutsideHours(Exception):
    """This kind of message is not served at the client's local time."""

    code = "outside_hours"


class Bot(Protocol):
    """Replies in words; a `BotRunner` outside of tests."""

    def reply(self, turn: Turn, memory: "Memory", on_piece: "OnPiece | None" = None) -> str | Awaitable[str]:
        """Return the whole reply, or what gives it later and hands its pieces on meanwhile. Either raises BotError."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message gets an error frame in place of a reply.

    Attributes:
        code: stable, for programs.
        why: a sentence for people.
        is_ours: the message was in order; the exchange is kept as failed.
    """

    code: str
    why: str
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHandler:
    """Replies to messages of every conversation of this pod; keeps nothing between them.

    Args:
        bot: who replies, and how long that may take.
        media: who decodes, speaks and draws, in worker processes.
        hours: when each kind of message is served, in the client's local time.
        typing_seconds: how long the bot "types" before a reply leaves; side by side for several messages.
    """

    bot: Bot
    media: "MediaProcessor"
    hours: "Mapping[RequestKind, OpeningHours]"
    typing_seconds: float

    def check_hours(self, kind: RequestKind, local_time: "datetime") -> None:
        """Pass when this kind of message is served at this local time.

        Raises:
            OutsideHours: it is not.
        """
        hours = self.hours[kind]
        if not hours.open_at(local_time):
            raise OutsideHours(
                f"{kind.message_kind} messages are served {hours.describe()} in your time zone; "
                f"it is {local_time:%H:%M} there"
            )

    async def decode(self, request: Request, *, client_id: str, session_id: "UUID", local_time: "datetime") -> Turn:
        """Turn voice or video into what the bot can reply to.

        Raises:
            MediaError: the voice or video cannot be used, or our workers failed.
        """
        audio = video = None
        match request.kind:
            case RequestKind.TEXT:
                return decode_text(request, client_id=client_id, session_id=session_id, local_time=local_time)
            case RequestKind.VOICE:
                audio = await self.media.probe_audio(request.body, client_id=client_id)
            case RequestKind.VIDEO:
                video = await self.media.probe_video(request.body, client_id=client_id)
            case _:
                assert_never(request.kind)
        return Turn(
            kind=request.kind,
            client_id=client_id,
            session_id=session_id,
            local_time=local_time,
            audio=audio,
            video=video,
        )

    def reply(self, turn: Turn, memory: "Memory", on_piece: "OnPiece | None" = None) -> str | Awaitable[str]:
        """Let the bot reply, in words that can be sent, and remember both sides.

        Turns of one conversation must not overlap. Returns a string when the bot replies at once. `on_piece` gets the
        pieces of a reply that comes in pieces, in words that can be sent as well.

        Raises:
            BotError: the bot could not reply; also raised by what is awaited.
        """
        said = self.bot.reply(turn, memory, on_piece)
        return _remember(turn, memory, said) if isinstance(said, str) else _Later(turn, memory, said)

    def render_now(self, turn: Turn, text: str) -> Response | None:
        """Give the words the form that answers this kind of message, or return None where that takes a while."""
        if turn.kind.answered_by.parts or self.typing_seconds:
            return None
        return Response(turn.kind.answered_by, text)

    async def render(self, turn: Turn, text: str) -> Response:
        """Do the same at the pace of someone typing, and speak.

        Raises:
            MediaError: our workers failed to speak.
        """
        reply_kind = turn.kind.answered_by
        if not reply_kind.parts:
            await asyncio.sleep(self.typing_seconds)
            return Response(reply_kind, text)
        typing = asyncio.create_task(asyncio.sleep(self.typing_seconds))
        try:
            voice = image = b""
            for part in reply_kind.parts:
                match part:
                    case MediaPart.VOICE:
                        language = turn.transcript.language if turn.transcript else ""
                        voice = await self.media.synthesize(text, client_id=turn.client_id, language=language)
                    case MediaPart.IMAGE:
                        image = turn.video.picture if turn.video else b""
                    case MediaPart.VIDEO:
                        raise NotImplementedError(f"no reply has a {part}")
                    case _:
                        assert_never(part)
            await typing
        finally:
            typing.cancel()
        return Response(reply_kind, text, voice, image)


def decode_text(request: Request, *, client_id: str, session_id: "UUID", local_time: "datetime") -> Turn:
    """Turn a text into what the bot can reply to."""
    return Turn(kind=request.kind, client_id=client_id, session_id=session_id, local_time=local_time, text=request.text)


def failure_of(exc: Exception) -> Failure:
    """Return what a client is told of an exception from a handler, and log what an operator should know."""
    match exc:
        case OutsideHours():
            return Failure(exc.code, str(exc), is_ours=False)
        case MediaError(code="media_failed"):
            log.warning("message.media_failed", reason=str(exc))
            return Failure(exc.code, str(exc), is_ours=True)
        case MediaError():
            return Failure(exc.code, str(exc), is_ours=False)
        case BotError():
            return Failure(exc.code, str(exc), is_ours=True)
        case _:
            log.error("message.bug", exc_info=exc)
            return Failure("internal", "this message could not be answered because of a fault of ours", is_ours=True)


class _Later:
    """A reply that is awaited, and remembered once it is there. Nothing runs before it is awaited."""

    __slots__ = ("_memory", "_said", "_turn")

    def __init__(self, turn: Turn, memory: "Memory", said: Awaitable[str]) -> None:
        self._turn = turn
        self._memory = memory
        self._said = said

    def __await__(self) -> "Generator[Any, Any, str]":
        """Wait for the reply."""
        said = yield from self._said.__await__()
        return _remember(self._turn, self._memory, said)

    def close(self) -> None:
        """Let go of a reply that nobody awaits."""
        close(self._said)


def close(awaitable: Awaitable[object]) -> None:
    """Let go of what may never be awaited, so that Python does not warn of it."""
    if hasattr(awaitable, "close"):
        awaitable.close()


def _remember(turn: Turn, memory: "Memory", said: str) -> str:
    said = presentable(said) or SPEECHLESS
    memory.add(turn, said)
    return said
