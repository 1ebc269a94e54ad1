"""What a run has found, as tables."""

from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.exchanges.contenders import OURS, WS_USUAL
from bench.exchanges.cores import AVAILABLE
from bench.exchanges.report import ExchangeReport, ReportRow
from bench.machine import processor
from bench.samples import Sample

BUSY_SHARE: Final = 0.1
THREE_DIGITS: Final = 100


def show(console: Console, report: ExchangeReport) -> None:
    """Print all that was measured."""
    console.print(
        f"{len(AVAILABLE)} cores, {processor()}; {report.store}; median of {report.terms.repeats} ± half the range",
        highlight=False,
    )
    if report.busy > BUSY_SHARE:
        console.print(f"[bold yellow]BUSY[/] others used {report.busy:.0%} of all cores; only the ratios say something")
    for part, case, rows in report.cases():
        console.print(f"[bold]{part}: {case}[/]", highlight=False)
        console.print(_table(report, rows))
    for name, why in report.missing.items():
        console.print(f"[bold red]NOT MEASURED[/] {name}: {why}", highlight=False)


def _table(report: ExchangeReport, rows: list[ReportRow]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    compared = any(report.ratio(row) is not None for row in rows) and len(rows) > 1
    for name in (*names, *(("of floor", "of usual Node") if compared else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        ratios = (report.ratio(row), report.ratio(row, WS_USUAL)) if compared else ()
        table.add_row(
            row.contender,
            *(number(row.figures[name]) if name in row.figures else "" for name in names),
            *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            style="bold green" if row.contender.startswith(OURS) else None,
        )
    return table


def number(sample: Sample) -> str:
    """Return a median with its spread, three digits or more."""
    digits = 0 if sample.median >= THREE_DIGITS else 1
    return f"{sample.median:,.{digits}f} ±{sample.spread:.0%}".replace(",", " ")
