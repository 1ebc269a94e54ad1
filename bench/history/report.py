"""What a run has found, as JSON and as tables."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.history import ingest, media
from bench.history.ingest import IngestFigures
from bench.history.media import MemoryUse, Stream
from bench.history.pages import Pages
from bench.history.terms import MIB, HistoryTerms
from bench.machine import cores, processor
from bench.samples import Sample

BUSY_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReport:
    """One run.

    Attributes:
        busy: share of all cores that others used just before.
        terms: how much was measured.
        ingest: exchanges handed in; empty when it was not asked for, like the rest.
        pages: in a small history, a large one, and from a long session.
        streams: media downloaded.
        memory: of a pod, while a crowd downloads.
    """

    busy: float
    terms: HistoryTerms
    ingest: Sequence[IngestFigures] = ()
    pages: Sequence[Pages] = ()
    streams: Sequence[Stream] = ()
    memory: MemoryUse | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON. Each ratio is to the floor of the same run that its name says."""
        return {
            "machine": {
                "cores": cores(),
                "processor": processor(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "busy_before": self.busy,
            },
            "terms": asdict(self.terms),
            "ingest": [{**_row(row), "ratio_to_insert_many": self.ingest_ratio(row)} for row in self.ingest],
            "pages": [{**_row(row), "ratio_to_small": self.pages_ratio(row)} for row in self.pages],
            "streams": [{**_row(row), "ratio_to_get_object": self.stream_ratio(row)} for row in self.streams],
            "memory": asdict(self.memory) if self.memory else None,
        }

    def ingest_ratio(self, row: IngestFigures) -> float:
        """Return which share of what the bare driver takes in."""
        [peer] = [one for one in self.ingest if (one.contender, one.writers) == (ingest.BARE, row.writers)]
        return row.per_second.median / peer.per_second.median

    def pages_ratio(self, row: Pages) -> float:
        """Return how many times the time of a page in the small history."""
        return row.milliseconds.median / self.pages[0].milliseconds.median

    def stream_ratio(self, row: Stream) -> float:
        """Return which share of what the bare client downloads."""
        [peer] = [one for one in self.streams if (one.contender, one.at_once) == (media.BARE, row.at_once)]
        return row.mib_per_second.median / peer.mib_per_second.median


def show(console: Console, report: HistoryReport) -> None:
    """Print all that was measured."""
    console.print(
        f"{cores()} cores, {processor()}; Python {platform.python_version()}; "
        f"median of {report.terms.repeats} ± half the range",
        highlight=False,
    )
    if report.busy > BUSY_SHARE:
        console.print(f"[bold yellow]BUSY[/] others used {report.busy:.0%} of all cores; measure again when they rest")
    if report.ingest:
        table = _table(f"Ingest, batches of {report.terms.batch}", "writers", "exchanges/s", f"vs. {ingest.BARE}")
        for took in report.ingest:
            ratio = f"{report.ingest_ratio(took):.2f}"
            table.add_row(took.contender, str(took.writers), _number(took.per_second), ratio)
        console.print(table)
    if report.pages:
        table = _table("A page of 50 messages", "ms", "vs. small")
        for page in report.pages:
            ratio = f"{report.pages_ratio(page):.2f}"
            messages, of_session = (f"{size:,}".replace(",", " ") for size in (page.messages, page.session_messages))
            table.add_row(f"from {messages} messages, {of_session} a session", _number(page.milliseconds), ratio)
        console.print(table)
    if report.streams:
        title = f"Downloads of {report.terms.media_bytes // MIB} MiB"
        table = _table(title, "at once", "MiB/s", f"vs. {media.BARE}")
        for stream in report.streams:
            ratio = f"{report.stream_ratio(stream):.2f}"
            table.add_row(stream.contender, str(stream.at_once), _number(stream.mib_per_second), ratio)
        console.print(table)
    if report.memory:
        found = report.memory
        console.print(
            f"{found.at_once} downloads at once: the pod had {found.before_mib:.0f} MiB before, and"
            f" {found.peak_mib:.0f} MiB at most ({found.peak_mib - found.before_mib:+.0f})",
            highlight=False,
        )


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _number(sample: Sample) -> str:
    digits = 0 if sample.median >= 100 else 2  # noqa: PLR2004 - three digits say enough
    return f"{sample.median:,.{digits}f} ±{sample.spread:.0%}".replace(",", " ")


def _row(row: IngestFigures | Pages | Stream) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: value.as_dict() if isinstance(value, Sample) else value for name, value in values.items()}
