"""This version of `permits` beside that of another checkout, in turns.

Each version runs in a process of its own, with its package first on PYTHONPATH. Both are measured by this code. They
share a Valkey, each in a database of its own, and take turns in short rounds: here and there, then there and here.
A slow moment of the machine hits both, so the ratio of a round says more than the figures.
"""

import asyncio
import gc
import json
import math
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

import permits
from bench.permits.contenders import OURS
from bench.permits.handoff import ROOT, hand_over, open_pair
from bench.permits.pairs import WARM_PAIRS, one_turn, some
from bench.permits.terms import GC_THRESHOLDS
from bench.samples import percentile
from bench.valkey import ValkeyDatabase

HERE, THERE = "here", "there"
HANDOFFS_OF_A_TURN = 10
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both versions.

    Attributes:
        measure: what it is.
        tasks: how many tasks asked; 0 for hand-offs.
        unit: of the figures.
        more_is_better: whether a larger figure is the better one.
        here: of each turn of this version.
        there: of each turn of the other one, in the same rounds.
    """

    measure: str
    tasks: int
    unit: str
    more_is_better: bool
    here: tuple[float, ...]
    there: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """By how much this version is the better one, round by round: above 1 it is."""
        pairs = [(one, other) for one, other in zip(self.here, self.there, strict=True) if one and other]
        return sorted(one / other if self.more_is_better else other / one for one, other in pairs)

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios) if self.ratios else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true median of the ratios is in 95 of 100 runs, by their ranks."""
        ratios = self.ratios
        if not ratios:
            return math.nan, math.nan
        half = 0.98 * math.sqrt(len(ratios))
        low = max(0, math.floor(len(ratios) / 2 - half))
        high = min(len(ratios) - 1, math.ceil(len(ratios) / 2 + half) - 1)
        return ratios[low], ratios[high]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {**asdict(self), "ratio": self.ratio, "interval": self.interval}


class Side:
    """The process of one version."""

    def __init__(self, process: "asyncio.subprocess.Process") -> None:
        self._process = process

    async def ask(self, what: str, *numbers: float) -> Figures:
        """Have something done; return what was measured."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, *numbers]).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of a version has died; see its error above")
        figures: Figures = json.loads(line)
        return figures


@asynccontextmanager
async def _side(valkey: ValkeyDatabase, database: int, package: Path) -> AsyncIterator[Side]:
    path = os.pathsep.join([str(package), str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.permits.against", str(valkey.port), str(database), str(package)),
        env={**os.environ, "PYTHONPATH": path},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield Side(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def package_of(checkout: Path) -> Path:
    """Return the folder of a checkout from which `permits` is imported.

    Raises:
        ValueError: there is none.
    """
    for folder in (checkout / "libs" / "permits", checkout):
        if (folder / "permits" / "__init__.py").is_file():
            return folder.resolve()
    raise ValueError(f"{checkout} has neither libs/permits/permits nor permits")


async def compare(
    valkey: ValkeyDatabase,
    package: Path,
    *,
    rounds: int,
    seconds: float,
    tasks: Sequence[int],
    parts: Sequence[str],
    step: Callable[[str], None],
) -> list[Comparison]:
    """Measure both versions in turns.

    Args:
        valkey: the store of both.
        package: where the other version is imported from.
        rounds: how often each figure is taken of each version.
        seconds: how long one turn of pairs takes.
        tasks: how many tasks acquire and release.
        parts: "pairs", "handoff".
        step: told what was measured just now, once for each round.
    """
    found: list[Comparison] = []
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(_side(valkey, 0, ROOT / "libs" / "permits"))
        there = await stack.enter_async_context(_side(valkey, 1, package))
        if "pairs" in parts:
            for number in tasks:
                turns = await _rounds(here, there, rounds, step, f"{number} tasks", "pairs", number, seconds)
                found += [
                    _comparison(turns, "pairs", number, "per_second", "1/s", more_is_better=True),
                    _comparison(turns, "client CPU of a pair", number, "client_us", "µs"),
                    _comparison(turns, "server CPU of a pair", number, "server_us", "µs"),
                ]
        if "handoff" in parts:
            turns = await _rounds(here, there, rounds, step, "hand-off", "handoff", HANDOFFS_OF_A_TURN)
            found.append(_comparison(turns, "hand-off, p50", 0, "p50_us", "µs"))
    return found


async def _rounds(
    here: Side, there: Side, rounds: int, step: Callable[[str], None], title: str, what: str, *numbers: float
) -> dict[str, list[Figures]]:
    turns: dict[str, list[Figures]] = {HERE: [], THERE: []}
    for side in (here, there):
        await side.ask(f"open {what}", *numbers)
    for number in range(rounds):
        order = [(HERE, here), (THERE, there)]
        for name, side in order if number % 2 == 0 else reversed(order):
            turns[name].append(await side.ask(what, *numbers))
        step(title)
    for side in (here, there):
        await side.ask("close")
    return turns


def _comparison(
    turns: dict[str, list[Figures]], measure: str, tasks: int, figure: str, unit: str, *, more_is_better: bool = False
) -> Comparison:
    here, there = (tuple(turn[figure] for turn in turns[side]) for side in (HERE, THERE))
    return Comparison(measure, tasks, unit, more_is_better, here, there)


def _check_version(package: Path) -> None:
    """Make sure that this process measures the version that it should."""
    if not Path(str(permits.__file__)).resolve().is_relative_to(package.resolve()):
        raise RuntimeError(f"this process has {permits.__file__}, and should have what is in {package}")


async def run_side(valkey: ValkeyDatabase) -> None:
    """Be the process of a `Side`."""
    loop = asyncio.get_running_loop()
    stack = AsyncExitStack()
    measure: Any = None
    async with stack:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            what, *numbers = json.loads(line)
            figures: Figures = {}
            if what == "open pairs":
                tasks = int(numbers[0])
                semaphore = await stack.enter_async_context(OURS.open(valkey.url, "pairs", tasks, tasks))
                await asyncio.gather(*(some(semaphore, WARM_PAIRS) for _ in range(tasks)))
                measure = semaphore
            elif what == "pairs":
                figures = asdict(await one_turn(valkey, measure, int(numbers[0]), numbers[1]))
            elif what == "open handoff":
                measure = await open_pair(stack, valkey, OURS)
            elif what == "handoff":
                times = [await hand_over(*measure) for _ in range(int(numbers[0]))]
                figures = {"p50_us": percentile(times, 0.5) / 1000}
            else:
                await stack.aclose()
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    gc.set_threshold(*GC_THRESHOLDS)
    _check_version(Path(sys.argv[3]))
    uvloop.run(run_side(ValkeyDatabase(int(sys.argv[1]), int(sys.argv[2]))))
