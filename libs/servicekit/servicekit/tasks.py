"""Background tasks with an owner, work that finishes although cancelled, bounded gathering, and back-off."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from servicekit.logs import get_logger

T = TypeVar("T")
R = TypeVar("R")

LONGEST_DOUBLING: Final = 16
"""Bounds the exponent. The longest pause is reached before."""

_log = get_logger(__name__)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, object], *, name: str) -> AsyncIterator[asyncio.Task[object]]:
    """Run `work` in the background of an `async with` block, and cancel it at the end of the block.

    A failure is logged at once, because the task is awaited only when the block ends.

    Args:
        work: the coroutine.
        name: of the task, in the log.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report_failure)
    try:
        yield task
    finally:
        await cancel(task)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def finish(work: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
    """Return what `work` returns. A cancellation takes effect only after it has ended.

    For work in threads and processes, which can't be cancelled. After a cancellation its result or error is dropped.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    try:
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            if not running.cancelled():
                running.exception()  # retrieved, so that asyncio does not complain
            raise cancelled
        return running.result()
    finally:
        del work, running, cancelled  # avoids a reference cycle through the traceback of this frame


async def gather_bounded(do: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int) -> list[R]:
    """Apply a function to every item, at most `limit` at once. Return the results in the order of the items.

    The first failure cancels the rest and is raised. Items are taken from the iterable as they are started.
    """
    numbered = enumerate(items)
    results: dict[int, R] = {}

    async def work() -> None:
        for number, item in numbered:
            results[number] = await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(work())
    except ExceptionGroup as exc:
        raise exc.exceptions[0] from exc
    return [results[number] for number in range(len(results))]


async def first_of(*conditions: Coroutine[Any, Any, object], seconds: float | None = None) -> None:
    """Return when the first of these conditions holds, or after `seconds`; the others are cancelled."""
    waiting = [asyncio.ensure_future(condition) for condition in conditions]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


@dataclass(frozen=True, slots=True)
class FullJitterBackoff:
    """Pauses after failures in a row: doubled each time up to a longest one, with full jitter.

    Attributes:
        first_seconds: the longest pause after the first failure.
        longest_seconds: the longest pause of all.
        jitter: a number in [0, 1), fresh at each call.
    """

    first_seconds: float
    longest_seconds: float
    jitter: Callable[[], float] = random.random

    def pause_seconds(self, failures: int) -> float:
        """Return the pause after so many failures in a row, at least one."""
        doubled = self.first_seconds * float(2 ** min(failures - 1, LONGEST_DOUBLING))
        return min(self.longest_seconds, doubled) * self.jitter()


def is_worth_logging(failures: int) -> bool:
    """Say whether to log this failure in a row: the 1st, 2nd, 4th, 8th and so on, so that no outage floods a log."""
    return failures & (failures - 1) == 0


def _report_failure(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        _log.error("task.failed", task=task.get_name(), exc_info=failure)
