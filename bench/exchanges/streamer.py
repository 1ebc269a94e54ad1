"""A bot whose replies come in many pieces, each in a turn of the event loop of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from botkit import Memory, Turn

PIECES: Final = 500


async def reply(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    """Say as many words as there are to be pieces."""
    del turn, memory
    for number in range(PIECES):
        await asyncio.sleep(0)
        yield f"{number} "
