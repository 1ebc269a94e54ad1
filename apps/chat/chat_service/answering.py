"""How one message becomes a reply: understand it, let the bot have its turn, render what it said.

The three steps are apart because they run differently: media is understood and rendered side by side, while the bot's
turns of one conversation run in order.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_service.bot.base import SPEECHLESS, Incoming
from chat_service.bot.reply import presentable
from frameproto import Request, RequestKind, Response, ResponseKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from chat_service.bot.base import Dialogue, Responder
    from chat_service.hours import OpeningHours
    from chat_service.media.base import MediaWorkers


class OutsideHours(Exception):
    """This kind of message is not served at the client's local time."""

    code = "outside_hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """Answers messages of every conversation of this pod; keeps nothing between them.

    Args:
        bot: who replies.
        media: who decodes, speaks and draws, in worker processes.
        hours: when each kind of message is served, in the client's local time.
        typing_seconds: how long the bot "types" before a reply leaves; side by side for several messages.
    """

    bot: "Responder"
    media: "MediaWorkers"
    hours: "Mapping[RequestKind, OpeningHours]"
    typing_seconds: float

    async def understand(self, request: Request, *, client_id: str, local_time: "datetime") -> Incoming:
        """Turn a request into what the bot can respond to.

        Raises:
            OutsideHours: this kind is not served now.
            MediaError: the voice or video cannot be used, or our workers failed.
        """
        hours = self.hours[request.kind]
        if not hours.open_at(local_time):
            raise OutsideHours(
                f"{request.kind.name.lower()} messages are served {hours.describe()} in your time zone; "
                f"it is {local_time:%H:%M} there"
            )
        match request.kind:
            case RequestKind.TEXT:
                return Incoming(RequestKind.TEXT, client_id, local_time, text=request.text)
            case RequestKind.VOICE:
                heard = await self.media.hear(request.body, client_id=client_id)
                return Incoming(RequestKind.VOICE, client_id, local_time, heard=heard)
            case RequestKind.VIDEO:
                seen = await self.media.see(request.body, client_id=client_id)
                return Incoming(RequestKind.VIDEO, client_id, local_time, seen=seen)

    async def take_turn(self, incoming: Incoming, dialogue: "Dialogue") -> str:
        """Let the bot reply, in words that can be sent. Turns of one dialogue must not overlap."""
        return presentable(await self.bot.reply(incoming, dialogue)) or SPEECHLESS

    async def render(self, incoming: Incoming, text: str) -> Response:
        """Give the words the form that answers this kind of message, at the pace of someone typing.

        Raises:
            MediaError: our workers failed to speak.
        """
        if incoming.kind is RequestKind.TEXT:
            await asyncio.sleep(self.typing_seconds)
            return Response(ResponseKind.TEXT, text)
        typing = asyncio.create_task(asyncio.sleep(self.typing_seconds))
        try:
            voice = await self.media.speak(text, client_id=incoming.client_id)
            await typing
        finally:
            typing.cancel()
        if incoming.seen is None:
            return Response(ResponseKind.VOICE, text, voice)
        return Response(ResponseKind.VIDEO, text, voice, incoming.seen.poster)
