"""A bot of which no two replies are alike, so that one answer to a message is never taken for another."""

import asyncio
import secrets
from collections.abc import AsyncIterator

from botkit import Memory, Reply, Turn

PIECES = 8
PIECE_SECONDS = 0.03
SLOW_SHARE = 3
"""One reply in so many grows while the client waits."""


def bot(turn: Turn, memory: Memory) -> Reply:
    """Reply at once, or piece by piece."""
    del memory
    number = secrets.randbelow(10**8)
    if number % SLOW_SHARE or turn.text is None:
        return f"reply {number}"
    return _grow(number)


async def _grow(number: int) -> AsyncIterator[str]:
    yield f"reply {number} comes"
    for _ in range(PIECES):
        await asyncio.sleep(PIECE_SECONDS)  # as a model does that thinks
        yield " bit by bit"
