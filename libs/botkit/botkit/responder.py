"""What a bot is: something that replies to a turn, at once, later, or piece by piece."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from inspect import isawaitable
from typing import Protocol, runtime_checkable

from botkit.memory import Memory
from botkit.turn import Turn

Reply = str | AsyncIterable[str]
"""The whole text, or its pieces as they come into being."""


@runtime_checkable
class Responder(Protocol):
    """A bot.

    `reply` may be a plain method that returns a string (it costs no task, and must not block), a coroutine, or an
    asynchronous generator that yields pieces. Turns of one conversation come one after the other; turns of different
    conversations overlap. A bot that is an asynchronous context manager is entered before its first turn and left
    after its last one.
    """

    def reply(self, turn: Turn, memory: Memory, /) -> Reply | Awaitable[Reply]:
        """Return what to say to a turn. Raises BotError when the bot cannot."""


async def pieces(reply: Reply | Awaitable[Reply]) -> AsyncGenerator[str, None]:
    """Yield the pieces of a reply, in whichever form a bot returned it; closing this ends the bot's own generator."""
    said = await reply if isawaitable(reply) else reply
    if isinstance(said, str):
        yield said
        return
    try:
        async for piece in said:
            yield piece
    finally:
        if isinstance(said, AsyncGenerator):
            await said.aclose()


async def whole(reply: Reply | Awaitable[Reply]) -> str:
    """Return a reply as one string, in whichever form a bot returned it."""
    return "".join([piece async for piece in pieces(reply)])
