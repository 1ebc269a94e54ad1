"""One worker process, as its pod sees it: started, given one job at a time, killed, started again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from chat_service.media.pipe import MessageMalformed, PipeMessage, receive_message
from servicekit.logs import get_logger

if TYPE_CHECKING:
    from chat_service.media.pipe import ProcessSettings

log = get_logger(__name__)

READ_AHEAD_BYTES: Final = 256 * 1024
# A worker gets no other variable: the environment of a pod holds secrets, and a worker meets strangers.
KEPT_VARIABLES: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class WorkerDied(Exception):
    """The process did not start, or ended before it had done its job; the message says how."""


class CpuTimeUsed(WorkerDied):
    """The job took more CPU time than a job may take."""


class WorkerProcess:
    """A process that does one job at a time and can be started again.

    Args:
        settings: what the worker is told.
        start_seconds: how long it may take to be ready.
    """

    def __init__(self, settings: "ProcessSettings", *, start_seconds: float) -> None:
        self._settings = settings
        self._start_seconds = start_seconds
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Id of the process, when it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs, as far as we were told."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process and wait until it can work.

        Raises:
            WorkerDied: it does not start.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._settings.PROGRAM,
                json.dumps(asdict(self._settings)),
                stdin=PIPE,
                stdout=PIPE,
                env={**_environment(), **self._settings.VARIABLES},
                limit=READ_AHEAD_BYTES,
                start_new_session=True,  # Ctrl-C in a terminal reaches the pod only, which lets answers finish
            )
        except OSError as exc:
            raise WorkerDied(f"it does not start: {exc}") from exc
        ready = await self._receive(self._process, self._start_seconds)
        if "error" in ready.head:
            await self.stop()
            raise WorkerDied(f"it does not start: {ready.head.get('message')}")
        if unconfined := ready.head.get("unconfined"):
            log.warning("media.worker_unconfined", reason=f"no filter of system calls: {unconfined}")

    async def do(self, job: PipeMessage, *, seconds: float) -> PipeMessage:
        """Have a job done.

        Args:
            job: what to do.
            seconds: how long it may take.

        Raises:
            CpuTimeUsed: the process ended because the job used too much CPU time.
            WorkerDied: the process ended in another way, or had to be killed.
        """
        if self._process is None or self._process.stdin is None:
            raise WorkerDied("it was never started")
        self._process.stdin.writelines(job.parts())
        return await self._receive(self._process, seconds)

    def kill(self) -> None:
        """Kill the process, if it runs; a job under way raises WorkerDied."""
        if self._process is not None and self.alive:
            # Before CPython 3.13, Process.kill() may take the exit code, and the event loop then reports 255.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Kill the process, if it runs, and wait for its end. Nobody may be waiting for a job."""
        self.kill()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.communicate()  # what it had still to say is read, or its end would not be noticed

    async def _receive(self, process: Process, seconds: float) -> PipeMessage:
        """Wait for what the worker says; when that fails in any way, the process is gone afterwards."""
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        try:
            async with asyncio.timeout(seconds):
                return await receive_message(process.stdout)
        except TimeoutError as exc:
            raise WorkerDied(await self._end(f"it was killed after {seconds:g} seconds")) from exc
        except MessageMalformed as exc:
            raise WorkerDied(await self._end(f"it was killed because it sent {exc}")) from exc
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            how = await self._end("it ended")
            raise (CpuTimeUsed if process.returncode == -signal.SIGPROF else WorkerDied)(how) from exc
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def _end(self, how: str) -> str:
        await self.stop()
        code = self._process.returncode if self._process is not None else None
        return f"{how} ({signal.Signals(-code).name if code is not None and code < 0 else f'exit code {code}'})"


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
