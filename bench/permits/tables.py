"""What a run has found, as tables."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.permits.against import Comparison
from bench.permits.contended import HOLD_SECONDS, PERMITS, TASKS
from bench.permits.contenders import BARE, OURS
from bench.permits.report import LIMIT_NAMES, PermitReport
from bench.samples import Sample

BUSY_SHARE = 0.1


def show(console: Console, report: PermitReport) -> None:
    """Print all that was measured."""
    machine = report.as_dict()["machine"]
    console.print(
        f"{machine['cores']} cores, {machine['processor']}; Python {machine['python']}; {report.server}; "
        f"median of {report.terms.repeats} ± half the range",
        highlight=False,
    )
    if report.busy > BUSY_SHARE:
        console.print(f"[bold yellow]BUSY[/] others used {report.busy:.0%} of all cores; measure again when they rest")
    if report.pairs:
        console.print(_pairs(report))
    if report.contended:
        console.print(_contended(report))
    if report.handoffs:
        console.print(_handoffs(report))
    for name, why in report.missing.items():
        console.print(f"[bold red]NOT MEASURED[/] {name}: {why}", highlight=False)


def show_comparison(console: Console, found: Sequence[Comparison], busy: float) -> None:
    """Print this version beside another one."""
    if busy > BUSY_SHARE:
        console.print(f"[bold yellow]BUSY[/] others used {busy:.0%} of all cores; the ratios count, the figures do not")
    table = _table("This version beside the other one, in turns; a ratio above 1: this one is better")
    for title in ("tasks", "here", "there", "rounds", "ratio", "95 % between"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found:
        low, high = row.interval
        table.add_row(
            f"{row.measure}, {row.unit}",
            str(row.tasks or ""),
            *(f"{median(values):,.1f}" for values in (row.here, row.there)),
            str(len(row.here)),
            f"{row.ratio:.3f}",
            f"{low:.3f} and {high:.3f}",
        )
    console.print(table)


def _pairs(report: PermitReport) -> Table:
    table = _table("Acquire and release, a permit for everybody: one process")
    for title in ("tasks", "pairs/s", "vs.\nredis-py", "vs.\nlimit", "client\nµs/pair", "server\nµs/pair"):
        table.add_column(title, justify="right", no_wrap=True)
    for _, rows in groupby(report.pairs, lambda row: row.tasks):
        for row in rows:
            table.add_row(
                row.contender,
                str(row.tasks),
                _number(row.per_second),
                _ratio(report.pairs_ratio(row, {BARE.name})),
                _ratio(report.pairs_ratio(row, LIMIT_NAMES)),
                _number(row.client_us),
                _number(row.server_us),
                style=_style(row.contender),
            )
        table.add_section()
    return table


def _contended(report: PermitReport) -> Table:
    table = _table(f"{TASKS} tasks want {PERMITS} permits and hold each for {HOLD_SECONDS * 1000:g} ms: one process")
    for title in ("grants/s", "vs.\nasyncio", "client\nµs/grant", "overtaking", "longest\nwait ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.contended:
        table.add_row(
            row.contender,
            _number(row.per_second),
            _ratio(report.contended_ratio(row)),
            _number(row.client_us),
            f"{row.overtaking.median:.1%}",
            _number(row.longest_wait_ms),
            style=_style(row.contender),
        )
    return table


def _handoffs(report: PermitReport) -> Table:
    table = _table("Hand-off from process to process")
    for title in ("p50 µs", "p99 µs", "p50 vs.\ntwo PINGs"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in report.handoffs:
        table.add_row(
            row.contender,
            _number(row.p50_us),
            _number(row.p99_us),
            _ratio(report.handoff_ratio(row)),
            style=_style(row.contender),
        )
    return table


def _table(title: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    return table


def _number(sample: Sample) -> str:
    digits = 0 if sample.median >= 100 else 1  # noqa: PLR2004 - three digits say enough
    return f"{sample.median:,.{digits}f} ±{sample.spread:.0%}".replace(",", " ")


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _style(contender: str) -> str | None:
    return "bold green" if contender == OURS.name else None
