"""What one exchange costs our chat service beside a TCP floor and others: ./taskw bench:exchange -- --help."""

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop
from rich.console import Console

from bench.exchanges.bodies import measure_bodies
from bench.exchanges.contenders import ALL, Step, Testbed, missing, open_testbed
from bench.exchanges.cores import split
from bench.exchanges.idle import measure_idle
from bench.exchanges.ours import measure_fsync, measure_voice
from bench.exchanges.plot import draw
from bench.exchanges.report import ExchangeReport, ReportRow
from bench.exchanges.tables import show
from bench.exchanges.terms import FULL, QUICK, SHORTEST, ExchangeTerms
from bench.exchanges.texts import measure_offered, measure_texts, measure_windows
from bench.exchanges.versions import measure_pieces, measure_versions
from bench.machine import busy_share
from bench.valkey import run_valkey
from servicekit.runner import GC_THRESHOLDS

Part = Callable[[Testbed, ExchangeTerms, Sequence[str], Step], Awaitable[list[ReportRow]]]
PARTS: Final[dict[str, Part]] = {
    "text": measure_texts,
    "window": measure_windows,
    "offered": measure_offered,
    "bodies": measure_bodies,
    "idle": measure_idle,
    "voice": measure_voice,
    "fsync": measure_fsync,
    "v2": measure_versions,
    "pieces": measure_pieces,
}
SHORT_NAMES: Final = dict(zip(("floor", "ws", "starlette", "usual-node", "usual-python", "ours"), ALL, strict=True))
PIPED_WIDTH: Final = 140


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return the exit status."""
    options = _parser().parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.set_threshold(*GC_THRESHOLDS)  # short pauses of this client are not taken for those of servers
    os.sched_setaffinity(0, split()[1])
    absent = missing()
    for name, why in absent.items():
        print(f"NOT MEASURED {name}: {why}", file=sys.stderr)
    wanted = [SHORT_NAMES[name] for name in options.only] if options.only else ALL
    names = [name for name in wanted if name not in absent]
    with (
        TemporaryDirectory(prefix="bench-") as name,
        run_valkey() as valkey,
        open_testbed(Path(name), valkey) as testbed,
    ):
        report = uvloop.run(_measure(testbed, options, names, absent))
    if options.json:
        options.json.write_text(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.plot:
        draw(report, options.plot)
    console = Console()
    show(console if console.is_terminal else Console(width=PIPED_WIDTH), report)
    return 0


async def _measure(
    testbed: Testbed, options: argparse.Namespace, names: Sequence[str], absent: dict[str, str]
) -> ExchangeReport:
    terms = _terms(options)
    report = ExchangeReport(
        store=await testbed.valkey.version(),
        busy=await asyncio.to_thread(busy_share),
        terms=terms,
        missing=absent,
        rows=[],
    )
    for part in options.part or PARTS:
        report = replace(report, rows=[*report.rows, *await PARTS[part](testbed, terms, names, _step)])
    return report


def _step(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench:exchange",
        description="Measure what one exchange costs our chat service, beside a TCP floor and others, in one run.",
        epilog="bench/README.md says what each figure means. NO_COLOR=1 leaves out the colors.",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a first look, with wide spreads")
    length.add_argument("--shortest", action="store_true", help="only to see that it runs; its figures mean nothing")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure this part only; may be repeated")
    parser.add_argument("--only", choices=SHORT_NAMES, action="append", help="measure this one only; may be repeated")
    parser.add_argument("--repeats", type=_count, metavar="N", help="how often each measurement is taken")
    parser.add_argument("--texts", type=_count, metavar="N", help="text exchanges in one measurement")
    parser.add_argument("--connections", type=_count, metavar="N", help="how many talk")
    parser.add_argument("--idle", type=_count, metavar="N", help="idle connections")
    parser.add_argument("--offered", type=_count, metavar="N", help="texts a second in the open loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the CPU of each contender")
    return parser


def _terms(options: argparse.Namespace) -> ExchangeTerms:
    given = {name: getattr(options, name) for name in ("repeats", "texts", "connections", "idle", "offered")}
    terms = QUICK if options.quick else SHORTEST if options.shortest else FULL
    return replace(terms, **{name: value for name, value in given.items() if value})


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
