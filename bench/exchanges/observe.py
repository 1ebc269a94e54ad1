"""What is noted of a contender while a client drives it."""

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from bench.exchanges.contenders import ChatContender, ServerContender
from bench.exchanges.cores import cpu_us
from bench.exchanges.drive import LoadResult
from bench.exchanges.report import CPU
from bench.samples import Sample, percentile

P50: Final = "p50 µs"
P99: Final = "p99 µs"
SENT_LATE: Final = "sent late p99 µs"
RATE: Final = "a second"
LAG: Final = "loop lag p99 µs"
Figures = dict[str, float]


async def observed(contender: ServerContender, driving: Awaitable[LoadResult], *, probe: bool = True) -> Figures:
    """Drive a contender, wait until it has done all that follows from it, and return the figures of one exchange.

    The probe of the event loop wakes the process a hundred times a second: nothing in a crowd, and much of all that it
    does when it has little to do.
    """
    lags_us: list[float] = []
    before = cpu_us(contender.pid)
    async with AsyncExitStack() as stack:
        if probe and isinstance(contender, ChatContender):
            await stack.enter_async_context(contender.probe(lags_us))
        driven = await driving
    asking_us = await contender.settle()
    spent = cpu_us(contender.pid) - before - asking_us
    figures = {
        CPU: spent / len(driven.latencies_us),
        RATE: driven.per_second,
        P50: percentile(driven.latencies_us, 0.5),
        P99: percentile(driven.latencies_us, 0.99),
    }
    if driven.late_us:
        figures[SENT_LATE] = percentile(driven.late_us, 0.99)
    return figures | ({LAG: percentile(lags_us, 0.99)} if lags_us else {})


def samples(repetitions: Sequence[Figures]) -> dict[str, Sample]:
    """Return each figure of several repetitions."""
    return {name: Sample(tuple(figures[name] for figures in repetitions)) for name in repetitions[0]}
