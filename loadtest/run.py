"""A whole load test: swarm, monitor and faults, then reading back from history."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import aiohttp

from chat_client import ClientError
from loadtest import recording
from loadtest.client_log import read_client_log
from loadtest.metrics import Metric, scrape
from loadtest.monitor import Monitor, PoolSample
from loadtest.plans import GRACE_SECONDS, Plan
from loadtest.readback import read_history
from loadtest.recording import RunInfo
from loadtest.report.plot import clock
from loadtest.swarm import WORKERS_SECONDS, command, run_swarm
from loadtest.target import Target

DELIVERY_SECONDS = 60.0
LOG = "locust.log"
SAMPLE_SECONDS = 0.25
PROGRESS_SECONDS = 10.0
UNDER_WAY = (Metric.CONNECTIONS_OPEN, Metric.MESSAGES_IN_PROCESS, Metric.OUTBOX_RECORDS)

FaultInjector = Callable[[Callable[[str], None]], Coroutine[None, None, None]]
"""Injects faults during a run, and records them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRun:
    """A run of a plan against a target.

    Args:
        target: the system.
        plan: the kind of run.
        folder: for all records.
        stop: ends the swarm early. The part until then is judged.
        fault_injector: injects faults.
        expected_workers: worker processes of the swarm that come from elsewhere.
        locust_options: more options of Locust.
        env: the environment of the swarm.
        tell: called with progress messages.
    """

    target: Target
    plan: Plan
    folder: Path
    stop: asyncio.Event
    fault_injector: FaultInjector | None = None
    expected_workers: int = 0
    locust_options: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = print

    async def run(self) -> None:
        """Run it. The folder holds a whole recording afterwards, also after a failure."""
        troubles: list[str] = []
        began_at = time.time()
        (self.folder / recording.CLIENT_LOG).touch()  # Locust may end before it writes anything
        with self._open(recording.SAMPLES) as samples, self._open(recording.FAULTS) as faults:
            watcher = Monitor(self.target, _writer(samples))
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watcher.run())
                progress = tasks.create_task(self._report_progress(watcher))
                injecting = self._inject_faults(_writer(faults), troubles) if self.fault_injector else None
                breaking = tasks.create_task(injecting) if injecting is not None else None
                troubles += await self._swarm()
                ended_at = time.time()
                progress.cancel()
                if breaking is not None and not breaking.done():
                    breaking.cancel()
                self.tell("the swarm has left; waiting until everything is delivered")
                troubles += await self._delivered(watcher)
                watcher.stop()
                await watching
        troubles += await self._read_back()
        RunInfo(
            shape=self.plan.name, limits=self.target.limits, began_at=began_at, ended_at=ended_at,
            must_reach=self.plan.must_reach, troubles=tuple(troubles),
        ).write(self.folder)  # fmt: skip

    async def _report_progress(self, watcher: Monitor) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            pools = "; ".join(
                f"{pool} {sample.held} of {sample.capacity}, {sample.waiting} in the queue"
                for pool, sample in watcher.latest.items()
            )
            self.tell(f"{clock(time.monotonic() - began):>6}  {pools}")

    async def _inject_faults(self, write: Callable[[str], None], troubles: list[str]) -> None:
        assert self.fault_injector is not None
        try:
            await self.fault_injector(write)
        except AssertionError as exc:
            troubles.append(f"what was broken could not be mended: {exc}")

    async def _swarm(self) -> list[str]:
        line = command(
            self.target, self.plan.shape, self.folder / recording.CLIENT_LOG,
            expected=self.expected_workers, more=self.locust_options,
        )  # fmt: skip
        until_workers_come = WORKERS_SECONDS if self.expected_workers else 0
        seconds = None if self.plan.seconds is None else self.plan.seconds + GRACE_SECONDS + until_workers_come
        try:
            code = await run_swarm(line, self.folder / LOG, seconds=seconds, stop=self.stop, env=self.env)
        except TimeoutError:
            return [f"the swarm had to be stopped: it did not end within {seconds:g} s"]
        if self.stop.is_set() and self.plan.seconds is not None:
            return ["the run was stopped before its end"]
        return [f"Locust ended with exit code {code}; see {LOG}"] if code else []

    async def _delivered(self, watcher: Monitor) -> list[str]:
        """Wait until no permit is held and all outboxes are empty, as long as there is progress."""
        least, last_progress = math.inf, time.monotonic()
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < last_progress + DELIVERY_SECONDS:
                pods = await scrape(http, self.target.metrics)
                everybody = len(pods) >= len(self.target.metrics)
                left = _left(pods, watcher.latest)
                if everybody and not left:
                    return []
                if everybody and left < least:
                    least, last_progress = left, time.monotonic()
                await asyncio.sleep(SAMPLE_SECONDS)
        return [f"for {DELIVERY_SECONDS:g} s, pods did not answer, or their work in process did not decrease"]

    async def _read_back(self) -> list[str]:
        with (self.folder / recording.CLIENT_LOG).open(encoding="utf-8") as lines:
            seen = read_client_log(lines)
        if not seen.visits:
            return ["no client ever came"]
        sessions: dict[str, dict[str, None]] = {}
        for visit in seen.visits.values():
            if visit.session:
                sessions.setdefault(visit.client, {})[visit.session] = None
        self.tell(f"reading back what {len(sessions)} clients said from history")
        with self._open(recording.HISTORY) as history:
            try:
                await read_history(
                    self.target.history, {client: list(theirs) for client, theirs in sessions.items()}, _writer(history)
                )
            except ClientError as exc:
                return [f"history could not be read back: {exc}"]
        return []

    def _open(self, name: str) -> TextIO:
        return (self.folder / name).open("a", encoding="utf-8", buffering=1)


def _left(pods: Mapping[str, Mapping[str, float]], pools: Mapping[str, PoolSample]) -> float:
    in_pods = sum(figures.get(metric, 0) for figures in pods.values() for metric in UNDER_WAY)
    return in_pods + sum(pool.held + pool.waiting for pool in pools.values())


def _writer(file: TextIO) -> Callable[[str], None]:
    return lambda line: print(line, file=file)
