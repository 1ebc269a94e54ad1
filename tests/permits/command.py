"""The `permits` command as a program."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.client.command import environment
from tests.permits.parts import SECONDS

COMMAND = str(Path(sys.executable).with_name("permits"))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it printed, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Runs the command with a store that it is told of, while the pods of the test live on."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __call__(self, *words: object, **variables: str) -> Done:
        """Run it to its end, without a terminal."""
        process = await self.start(*words, **variables)
        async with asyncio.timeout(SECONDS * 3):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in err
        return Done(process.returncode, out.decode(), err.decode())

    async def start(self, *words: object, **variables: str) -> Process:
        """Begin to run it."""
        env = environment(**{"CHAT_REDIS_URL": self.url, **variables})
        return await asyncio.create_subprocess_exec(
            COMMAND, *map(str, words), stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=env
        )
