"""What our permits cost beside the server's limit, bare calls and other semaphores: ./taskw bench:permits -- --help."""

import argparse
import asyncio
import gc
import importlib.util
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.machine import busy_share
from bench.permits import contended, handoff, pairs
from bench.permits.against import compare, package_of
from bench.permits.contenders import ALL, Contender
from bench.permits.report import PermitReport
from bench.permits.server_limit import LIMITS, find_benchmark
from bench.permits.tables import show, show_comparison
from bench.permits.terms import GC_THRESHOLDS, PermitTerms, Run
from bench.valkey import ValkeyDatabase, run_valkey

QUICK = PermitTerms(repeats=3, seconds=0.06, tasks=(1, 8, 50, 500), handoffs=20)
FULL = PermitTerms(repeats=5, seconds=1.0, tasks=(1, 8, 50, 500), handoffs=200)
PARTS = ("pairs", "contended", "handoff")
PIPED_WIDTH = 120
TURN_SECONDS = 0.15  # of a version, with --against


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return the exit status."""
    options = _parser().parse_args(argv)
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        print("--plot needs matplotlib, which ./taskw bench:permits installs", file=sys.stderr)
        return 2
    _allow_many_connections()
    gc.set_threshold(*GC_THRESHOLDS)
    if options.against:
        return _compare(options)
    with run_valkey() as valkey:
        report = uvloop.run(_measure(valkey, _terms(options), options.part or PARTS))
    if options.json:
        options.json.write_text(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.plot:
        from bench.permits.plot import draw  # noqa: PLC0415 - the rest works without matplotlib

        draw(report, options.plot)
    console = Console()
    show(console if console.is_terminal else Console(width=PIPED_WIDTH), report)
    return 0


def _compare(options: argparse.Namespace) -> int:
    try:
        package = package_of(options.against)
    except ValueError as exc:
        print(f"--against: {exc}", file=sys.stderr)
        return 2
    parts = [part for part in options.part or PARTS if part != "contended"]
    terms = _terms(options)
    levels = len(terms.tasks) * ("pairs" in parts) + ("handoff" in parts)
    with run_valkey() as valkey, _progress() as progress:
        bar = progress.add_task("starting", total=levels * options.rounds)
        found = uvloop.run(
            compare(
                valkey,
                package,
                rounds=options.rounds,
                seconds=options.seconds or TURN_SECONDS,
                tasks=terms.tasks,
                parts=parts,
                step=lambda what: progress.update(bar, advance=1, description=what),
            )
        )
        busy = busy_share()
    if options.json:
        options.json.write_text(json.dumps([one.as_dict() for one in found], indent=1) + "\n", encoding="utf-8")
    console = Console()
    show_comparison(console if console.is_terminal else Console(width=PIPED_WIDTH), found, busy)
    return 0


async def _measure(valkey: ValkeyDatabase, terms: PermitTerms, parts: Sequence[str]) -> PermitReport:
    missing = {contender.name: why for contender in ALL if (why := contender.trouble())}
    present = [contender for contender in ALL if contender.name not in missing]
    benchmark = find_benchmark()
    if benchmark is None:
        missing |= {limit.name: "not installed (Debian: apt-get install redis-tools)" for limit in LIMITS}
    for name, why in missing.items():
        print(f"NOT MEASURED {name}: {why}", file=sys.stderr)
    busy = await asyncio.to_thread(busy_share)
    report = PermitReport(server=await valkey.version(), busy=busy, terms=terms, contenders=present, missing=missing)
    with _progress() as progress:
        bar = progress.add_task("starting", total=_steps(terms, parts, present, limits=benchmark is not None))
        run = Run(valkey, terms, lambda what: progress.update(bar, advance=1, description=what))
        if "pairs" in parts:
            report = replace(report, pairs=await pairs.measure(run, _sharing(present), benchmark))
        if "contended" in parts:
            report = replace(report, contended=await contended.measure(run, _waiting(present)))
        if "handoff" in parts:
            sharing = [contender for contender in _sharing(present) if contender.waits]
            report = replace(report, handoffs=await handoff.measure(run, sharing))
    return report


def _sharing(contenders: Sequence[Contender]) -> list[Contender]:
    return [contender for contender in contenders if contender.shared]


def _waiting(contenders: Sequence[Contender]) -> list[Contender]:
    return [contender for contender in contenders if contender.waits]


def _steps(terms: PermitTerms, parts: Sequence[str], contenders: Sequence[Contender], *, limits: bool) -> int:
    sharing, waiting = _sharing(contenders), _waiting(contenders)
    turns = {
        "pairs": len(terms.tasks) * (len(sharing) + (len(LIMITS) if limits else 0)),
        "contended": len(waiting),
        "handoff": len(handoff.FLOORS) + len(_waiting(sharing)),
    }
    return terms.repeats * sum(turns[part] for part in parts)


def _progress() -> Progress:
    """Return a bar that appears on a terminal only, and not among the results."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench:permits",
        description="Measure our permits beside the server's limit, bare calls and other semaphores, in one run.",
        epilog="bench/README.md says what each figure means. NO_COLOR=1 leaves out the colors.",
    )
    parser.add_argument("--quick", action="store_true", help="under 20 seconds instead of under 4 minutes")
    parser.add_argument("--part", choices=PARTS, action="append", help="measure this part only; may be repeated")
    parser.add_argument("--tasks", type=_numbers, help="how many tasks acquire and release, such as 1,50")
    parser.add_argument("--seconds", type=_duration, help="how long one measurement takes")
    parser.add_argument("--repeats", type=_count, help="how often each is taken")
    parser.add_argument("--handoffs", type=_count, help="how many hand-offs in one repetition")
    parser.add_argument(
        "--against", type=Path, metavar="FOLDER", help="this version and that of another checkout, in turns"
    )
    parser.add_argument("--rounds", type=_count, default=40, help="how often the versions take turns at each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw it")
    return parser


def _terms(options: argparse.Namespace) -> PermitTerms:
    given = {name: getattr(options, name) for name in ("repeats", "seconds", "tasks", "handoffs")}
    return replace(QUICK if options.quick else FULL, **{name: value for name, value in given.items() if value})


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in text.split(","))


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _duration(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def _allow_many_connections() -> None:
    """Let this process and the server have a connection for each of many tasks, as far as the system lets us."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
