"""A bot that works until a test lets it go on: for the server that a browser talks to, on this machine."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from botkit import Memory, Turn

GATES = "TEST_BOT_GATES"
"""The variable with a folder; a reply goes on when a file of that name is there."""
STEP_SECONDS = 0.02


async def _until(name: str) -> None:
    gate = Path(os.environ[GATES]) / name
    while not gate.exists():  # noqa: ASYNC110 - another process makes the file; the service ends a bot that takes too long
        await asyncio.sleep(STEP_SECONDS)


async def bot(turn: Turn, _memory: Memory) -> AsyncIterator[str]:
    """Say `One, **two**, three.` in pieces, each behind its gate; what was asked is repeated at the end."""
    await _until("first")
    yield "One, "
    await _until("second")
    yield "**two**, "
    await _until("third")
    yield f"three: {turn.text}"
