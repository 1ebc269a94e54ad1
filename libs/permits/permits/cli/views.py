"""A pool as tables for people and as JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from permits.cli.output import printable
from permits.redis import PodView, PoolView, WaiterView

ROWS: Final = 20  # of a table; JSON has more


def as_object(name: str, view: PoolView) -> dict[str, Any]:
    """Return a pool as an object for JSON."""
    state = view.state
    return {
        "pool": name,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "held": state.held,
        "capacity": state.capacity,
        "high_water": state.high_water,
        "waiting": state.waiting,
        "learning_seconds": state.learning_seconds,
        "reaped": state.reaped,
        "clients": dict(state.clients),
        "line": [asdict(waiter) for waiter in view.line],
        "pods": [asdict(pod) for pod in view.pods],
        "refused": sorted(view.refused),
        "epoch": view.epoch,
        "capacity_version": view.capacity_version,
        "jumps": view.jumps,
    }


def as_tables(name: str, view: PoolView) -> RenderableType:
    """Return a pool as tables, the most urgent first."""
    return Group(*_parts(name, view))


def seconds(value: float) -> str:
    """Format a duration for people."""
    return f"{value:.1f} s"


def _parts(name: str, view: PoolView) -> Iterator[RenderableType]:
    state = view.state
    full = "red" if state.held >= state.capacity else "green"
    yield (
        f"[bold]{escape(name)}[/]  held [{full}]{state.held} of {state.capacity}[/]  "
        f"high-water {state.high_water}  waiting {state.waiting}  reaped {state.reaped}"
    )
    if state.learning_seconds > 0:
        yield (
            f"[yellow]learning for {seconds(state.learning_seconds)} more: the store may have lost permits, so no "
            "new ones are granted[/]"
        )
    others = {pod.capacity for pod in view.pods} - {state.capacity}
    if others:
        said = ", ".join(map(str, sorted(others)))
        yield f"[yellow]the settings of some pods say a capacity of {said}; it was set by hand, or pods differ[/]"
    begun, times = _time(view.epoch), view.capacity_version
    yield f"[dim]epoch since {begun}  capacity set {times} times  clock jumps {view.jumps}[/]"
    yield _table(["pod", ">lease left", ">held", ">waiting", ">settings say", ""], [_pod(pod) for pod in view.pods])
    gone = sorted(view.refused - {pod.name for pod in view.pods})
    if gone:
        yield f"[yellow]refused[/]  {escape(printable('  '.join(gone)))}"
    if view.line:
        yield _table(
            [">ticket", "in the queue", ">waiting for", ">at most", "pod"],
            [_waiter(waiter) for waiter in view.line],
            total=state.waiting,
        )
    if state.clients:
        most = sorted(state.clients.items(), key=lambda client: (-client[1], client[0]))
        yield _table(["client", ">held"], [(printable(client), str(count)) for client, count in most])


def _pod(pod: PodView) -> Sequence[str]:
    left = seconds(pod.lease_left_seconds) if pod.lease_left_seconds > 0 else "over"
    numbers = pod.held, pod.waiting, pod.capacity
    return printable(pod.name), left, *map(str, numbers), "refused" if pod.refused else ""


def _waiter(waiter: WaiterView) -> Sequence[str]:
    return (
        str(waiter.ticket),
        printable(waiter.client_id),
        seconds(waiter.waiting_seconds),
        seconds(max(0.0, waiter.left_seconds)),
        printable(waiter.pod),
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, total: int | None = None) -> RenderableType:
    """Return a table; a column whose name begins with ">" holds numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    for column in columns:
        number = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if number else "left", no_wrap=number)
    for row in rows[:ROWS]:
        table.add_row(*map(escape, row))
    more = (total or len(rows)) - min(len(rows), ROWS)
    return Group("", table, f"[dim]… and {more} more[/]") if more > 0 else Group("", table)


def _time(epoch_ms: int) -> str:
    try:
        return datetime.fromtimestamp(epoch_ms / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a value that was written by hand
        return str(epoch_ms)
