"""Locust as a separate process, controlled by its command line."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtest.target import Target

HERE: Final = Path(__file__).parent
STOP_SECONDS: Final = 25
PATIENCE_SECONDS: Final = 20.0  # on top of the wait in the queue
WORKERS_SECONDS: Final = 300  # until workers from elsewhere are there


def command(
    target: Target, shape: Path | None, client_log: Path, *, expected: int = 0, more: Sequence[str] = ()
) -> list[str]:
    """Return the command line of a swarm.

    Args:
        target: the system.
        shape: the file of a shape; without one, Locust's web page says how many users there are.
        client_log: the client log.
        expected: workers that come from elsewhere; the run begins when all of them are connected.
        more: options of Locust's own.
    """
    files = [HERE / "locustfile.py", *([shape] if shape else [])]
    return [
        sys.executable, "-m", "locust", "-f", ",".join(str(file) for file in files),
        "--host", ",".join(target.chat), "--ledger", str(client_log), "--window", str(target.limits.window),
        "--connect-patience", str(target.limits.connect_wait_seconds + PATIENCE_SECONDS),
        "--stop-timeout", str(STOP_SECONDS), "--loglevel", "INFO",
        "--exit-code-on-error", "0",  # the verdicts use the client log
        *(["--headless"] if shape else []),
        *(_as_master(expected) if expected else []),
        *more,
    ]  # fmt: skip


def _as_master(expected: int) -> list[str]:
    return ["--master", "--expect-workers", str(expected), "--expect-workers-max-wait", str(WORKERS_SECONDS)]


async def run_swarm(
    command_line: Sequence[str],
    log: Path,
    *,
    seconds: float | None,
    stop: asyncio.Event,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a swarm until it ends or is told to stop, and return its exit code. It never outlives this call.

    Raises:
        TimeoutError: it did not end by itself in so many seconds.
    """
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command_line, stdout=out, stderr=out, env={**os.environ, **(env or {})}, process_group=0
        )
    ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    try:
        async with asyncio.timeout(seconds):
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set() and process.returncode is None:
            process.terminate()
            async with asyncio.timeout(STOP_SECONDS + PATIENCE_SECONDS):
                await ended
        return await ended
    finally:
        stopped.cancel()
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS + PATIENCE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
