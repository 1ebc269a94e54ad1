"""How one message becomes a reply: understand it, let the bot have its turn, render what it said.

The three steps are apart because they run differently: media is understood and rendered side by side, while the bot's
turns of one conversation run in order.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, assert_never

from botkit import Turn
from chat_service.bot.reply import SPEECHLESS, presentable
from frameproto import MediaPart, Request, RequestKind, Response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from botkit import Memory
    from chat_service.hours import OpeningHours
    from chat_service.media.base import MediaProcessor


class OutsideHours(Exception):
    """This kind of message is not served at the client's local time."""

    code = "outside_hours"


class Bot(Protocol):
    """Replies in words; a `BotRunner` outside of tests."""

    async def reply(self, turn: Turn, memory: "Memory") -> str:
        """Return the whole reply. Raises BotError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """Answers messages of every conversation of this pod; keeps nothing between them.

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

    async def understand(self, request: Request, *, client_id: str, session_id: "UUID", local_time: "datetime") -> Turn:
        """Turn a request into what the bot can respond to.

        Raises:
            OutsideHours: this kind is not served now.
            MediaError: the voice or video cannot be used, or our workers failed.
        """
        hours = self.hours[request.kind]
        if not hours.open_at(local_time):
            raise OutsideHours(
                f"{request.kind.message_kind} messages are served {hours.describe()} in your time zone; "
                f"it is {local_time:%H:%M} there"
            )
        turn = Turn(kind=request.kind, client_id=client_id, session_id=session_id, local_time=local_time)
        match request.kind:
            case RequestKind.TEXT:
                return replace(turn, text=request.text)
            case RequestKind.VOICE:
                return replace(turn, audio=await self.media.probe_audio(request.body, client_id=client_id))
            case RequestKind.VIDEO:
                return replace(turn, video=await self.media.probe_video(request.body, client_id=client_id))
            case _:
                assert_never(request.kind)

    async def take_turn(self, turn: Turn, memory: "Memory") -> str:
        """Let the bot reply, in words that can be sent, and remember both sides.

        Turns of one conversation must not overlap.

        Raises:
            BotError: the bot could not reply.
        """
        said = presentable(await self.bot.reply(turn, memory)) or SPEECHLESS
        memory.add(turn, said)
        return said

    async def render(self, turn: Turn, text: str) -> Response:
        """Give the words the form that answers this kind of message, at the pace of someone typing.

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
                        voice = await self.media.synthesize(text, client_id=turn.client_id)
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
