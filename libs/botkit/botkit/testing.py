"""Conversing with a bot in tests and at a terminal, without a server."""

from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from botkit.loading import as_bot
from botkit.memory import Memory
from botkit.responder import Responder, whole
from botkit.turn import AudioInfo, Turn, VideoInfo
from frameproto import RequestKind

MONDAY_MORNING = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)


class BotClient:
    """One client who talks to a bot; an asynchronous context manager if the bot is one.

    Args:
        bot: who replies, in any form that `CHAT_BOT` takes: an object with `reply`, a function, or a factory.
        client_id: who talks.
        local_time: when; it stands still until a test sets it.
        session_id: of which conversation.
    """

    def __init__(
        self,
        bot: Responder | Callable[..., Any],
        *,
        client_id: str = "anna",
        local_time: datetime = MONDAY_MORNING,
        session_id: UUID | None = None,
    ) -> None:
        self.bot = as_bot(bot)
        self.client_id = client_id
        self.local_time = local_time
        self.session_id = session_id
        self.memory = Memory()

    async def __aenter__(self) -> Self:
        """Enter the bot, if it wants to be entered."""
        if hasattr(self.bot, "__aenter__"):
            await self.bot.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the bot."""
        if hasattr(self.bot, "__aexit__"):
            await self.bot.__aexit__(kind, error, traceback)

    async def say(self, text: str) -> str:
        """Send a text and return the whole reply. Raises what the bot raises."""
        return await self.send(self.turn(RequestKind.TEXT, text=text))

    async def speak(self, seconds: float) -> str:
        """Send a voice note of this length."""
        return await self.send(self.turn(RequestKind.VOICE, audio=AudioInfo(seconds)))

    async def show(self, seconds: float, width: int = 640, height: int = 480, *, has_sound: bool = True) -> str:
        """Send a video of this length and size."""
        video = VideoInfo(seconds, width, height, b"\xff\xd8\xff\xd9", has_sound)
        return await self.send(self.turn(RequestKind.VIDEO, video=video))

    async def send(self, turn: Turn) -> str:
        """Send any turn, and remember it as the server does."""
        reply = await whole(self.bot.reply(turn, self.memory))
        self.memory.add(turn, reply)
        return reply

    def turn(
        self, kind: RequestKind, *, text: str = "", audio: AudioInfo | None = None, video: VideoInfo | None = None
    ) -> Turn:
        """Return a turn of this conversation."""
        return Turn(
            kind=kind,
            client_id=self.client_id,
            local_time=self.local_time,
            session_id=self.session_id,
            text=text,
            audio=audio,
            video=video,
        )
