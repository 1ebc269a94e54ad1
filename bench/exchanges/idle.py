"""Many connections that say nothing: how fast they are accepted, and how much memory each takes."""

from collections.abc import Sequence
from typing import Final

import psutil

from bench.exchanges.contenders import OURS, STARLETTE_BARE, WS_BARE, Step, Testbed
from bench.exchanges.cores import MICROSECONDS, clock_us, cpu_us
from bench.exchanges.observe import RATE, Figures, samples
from bench.exchanges.report import CPU, ReportRow
from bench.exchanges.terms import ExchangeTerms

KIB: Final = 1024
MEMORY: Final = "KiB each"
TAKING_PART: Final = (WS_BARE, STARLETTE_BARE, OURS)


async def measure_idle(testbed: Testbed, terms: ExchangeTerms, names: Sequence[str], step: Step) -> list[ReportRow]:
    """Open connections to a process that has just started; ours has a permit for each from Valkey."""
    found: dict[str, list[Figures]] = {}
    for repetition in range(terms.repeats):
        for name in (name for name in TAKING_PART if name in names):
            with testbed.fresh(name, f"idle-{repetition}") as contender:
                async with contender.connections(1, 0):  # what is made once, for the first
                    process = psutil.Process(contender.pid)
                    rest, used_us, began_us = process.memory_info().rss, cpu_us(contender.pid), clock_us()
                    async with contender.connections(terms.idle, 0):
                        seconds = (clock_us() - began_us) / MICROSECONDS
                        figures = {
                            CPU: (cpu_us(contender.pid) - used_us) / terms.idle,
                            RATE: terms.idle / seconds,
                            MEMORY: (process.memory_info().rss - rest) / KIB / terms.idle,
                        }
            found.setdefault(name, []).append(figures)
            step(f"idle: {name}")
    case = f"{terms.idle:,} connections accepted by a fresh process, then idle"
    return [ReportRow("idle", case, name, samples(figures)) for name, figures in found.items()]
