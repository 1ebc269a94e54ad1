"""What history costs beside the bare drivers that it stands on: ./taskw bench:history -- --help."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.history import ingest, media, pages
from bench.history.report import HistoryReport, show
from bench.history.servers import Servers, run_servers
from bench.history.terms import HistoryTerms
from bench.machine import busy_share

QUICK = HistoryTerms(
    repeats=3,
    batches=4,
    batch=500,
    few_messages=10_000,
    many_messages=100_000,
    long_messages=20_000,
    pages=80,
    media_bytes=4 << 20,
)
FULL = HistoryTerms(
    repeats=5,
    batches=20,
    batch=1000,
    few_messages=10_000,
    many_messages=5_000_000,
    long_messages=500_000,
    pages=400,
)
PARTS = ("ingest", "pages", "media")
LONG_AGO_SECONDS = 30.0
PIPED_WIDTH = 120


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return the exit status."""
    options = _parser().parse_args(argv)
    terms = _terms(options)
    with TemporaryDirectory(prefix="bench-history-") as folder, run_servers(Path(folder)) as servers:
        report = uvloop.run(_measure(servers, terms, options.part or PARTS))
    if options.json:
        options.json.write_text(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console = Console()
    show(console if console.is_terminal else Console(width=PIPED_WIDTH), report)
    return 0


async def _measure(servers: Servers, terms: HistoryTerms, parts: Sequence[str]) -> HistoryReport:
    report = HistoryReport(busy=await asyncio.to_thread(busy_share), terms=terms)
    with Steps() as steps:
        if "ingest" in parts:
            steps.begin("ingest", 2 * len(ingest.WRITERS) * terms.repeats)
            report = replace(report, ingest=await ingest.measure(servers, terms, steps.done))
        if "pages" in parts:
            steps.begin("pages", pages.steps(terms))
            report = replace(report, pages=await pages.measure(servers, terms, steps.done))
        if "media" in parts:
            steps.begin("media", 2 * len(media.AT_ONCE) * terms.repeats)
            streams, memory = await media.measure(servers, terms, steps.done)
            report = replace(report, streams=streams, memory=memory)
    return report


class Steps:
    """Shows how far a run has come: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._terminal = console.is_terminal
        self._bars = Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not self._terminal
        )
        self._part = self._bars.add_task("starting", total=None)
        self._total = self._count = 0
        self._told = -LONG_AGO_SECONDS

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, part: str, total: int) -> None:
        """Begin with a part of so many steps."""
        self._total, self._count, self._told = total, 0, -LONG_AGO_SECONDS
        self._bars.reset(self._part, description=part, total=total)

    def done(self, what: str, count: int) -> None:
        """Count steps that were done just now."""
        self._count += count
        self._bars.update(self._part, advance=count, description=what)
        now = self._bars.get_time()
        if not self._terminal and now - self._told > LONG_AGO_SECONDS:
            self._told = now
            print(f"{what}: {self._count:,} of {self._total:,}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench:history",
        description="Measure ingest, pages and media of a history pod beside the bare drivers, in one run.",
        epilog="bench/README.md says what each figure means. NO_COLOR=1 leaves out the colors.",
    )
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer of everything, and smaller")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure this part only; may be repeated")
    parser.add_argument("--many-messages", type=_count, metavar="N", help="how many the large history has")
    parser.add_argument("--long-messages", type=_count, metavar="N", help="how many the longest session has")
    parser.add_argument("--batch", type=_count, metavar="N", help="how many exchanges one batch has")
    parser.add_argument("--repeats", type=_count, metavar="N", help="how often each measurement is taken")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to this file")
    return parser


def _terms(options: argparse.Namespace) -> HistoryTerms:
    given = {name: getattr(options, name) for name in ("many_messages", "long_messages", "batch", "repeats")}
    return replace(QUICK if options.quick else FULL, **{name: value for name, value in given.items() if value})


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
