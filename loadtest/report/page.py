"""The report as one HTML page. It loads nothing from elsewhere, and has no script."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from loadtest.checks.limits import high_water, most_open
from loadtest.checks.verdicts import CheckVerdict, Judgement, all_passed
from loadtest.metrics import Metric
from loadtest.recording import RunRecording
from loadtest.report.plot import Plot
from loadtest.report.series import KINDS, Series, Timeline
from loadtest.report.tables import refusals, times

STYLE: Final = Path(__file__).with_name("style.css")
LOOK: Final = {Judgement.KEPT: "kept", Judgement.BROKEN: "broken", Judgement.NOT_TESTED: "untested"}
NAMES: Final = {"connect": "wait for a connection", **{kind: kind for kind in KINDS}}


def page(recording: RunRecording, verdicts: Sequence[CheckVerdict]) -> str:
    """Return the page."""
    run = recording.run
    began = datetime.fromtimestamp(run.began_at, UTC)
    minutes, seconds = divmod(round(run.ended_at - run.began_at), 60)
    broken = sum(verdict.judgement is Judgement.BROKEN for verdict in verdicts)
    outcome = (
        f'<p class="outcome kept">All {len(verdicts)} promises were kept, as far as they were tested.</p>'
        if all_passed(verdicts)
        else f'<p class="outcome broken">{broken} of {len(verdicts)} promises broken.</p>'
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load: {escape(run.shape)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<header><h1>Load: {escape(run.shape)}</h1>
<span class="when">{began:%Y-%m-%d %H:%M} UTC, {minutes} min {seconds} s</span></header>
{outcome}
{_numbers(recording)}
<h2>Promises</h2>
{_verdicts(verdicts)}
<h2>Over time</h2>
<div class="plots">
{"".join(plot.draw() for plot in plots(recording))}
</div>
<h2>Times</h2>
{_times(recording)}
<h2>Denials, refusals and closes by code</h2>
{_refusals(recording)}
<footer>Dashed red: the limit. Dotted: something was done on purpose. How to read this: docs/load-testing.md.</footer>
</main>
</body>
</html>
"""


def plots(recording: RunRecording) -> list[Plot]:
    """Return the plots, in the order of the page."""
    line, limits = Timeline(recording), recording.run.limits
    seconds, marks = line.seconds, line.marks()

    def plot(
        title: str, unit: str, series: Sequence[Series], *, limit: float | None = None, filled: bool = False
    ) -> Plot:
        return Plot(
            title=title, unit=unit, series=series, seconds=seconds, marks=marks, limit=limit, filled=filled
        )  # fmt: skip

    def held(pool: str) -> Series:
        return line.pool(pool, "held in the store", lambda sample: sample.held)

    def waiting(pool: str) -> Series:
        return line.pool(pool, "waiting", lambda sample: sample.waiting)

    open_now = [held("connections"), line.clients_inside()]
    in_process = [held("messages"), *line.pods(Metric.MESSAGES_IN_PROCESS)]
    counted = "media workers included" if recording.processes else "main processes, as the pods report"
    return [
        plot("Connections", "at once", open_now, limit=limits.connections, filled=True),
        plot("Messages in process", "at once", in_process, limit=limits.messages, filled=True),
        plot("Queue for connections", "clients", [waiting("connections")], filled=True),
        plot("Queue for messages", "messages", [waiting("messages")], filled=True),
        *(plot(f"Time to a reply: {kind}", "s", line.latency(kind)) for kind in KINDS),
        plot(
            "Answered", "messages per second",
            [line.rate("answered", (e.ended_at for e in recording.clients.exchanges if e.outcome == "answered"))],
            filled=True,
        ),
        plot("Denied and refused", "per second", line.denials()),
        plot("Outbox", "exchanges not delivered yet", line.pods(Metric.OUTBOX_RECORDS)),
        plot("Processor", f"% of one, {counted}", line.cpu()),
        plot("Memory", f"MiB, {counted}", line.memory()),
    ]  # fmt: skip


def _numbers(recording: RunRecording) -> str:
    visits, exchanges = recording.clients.visits.values(), recording.clients.exchanges
    figures = (
        (str(high_water(recording, "connections")), f"connections at most, of {recording.run.limits.connections}"),
        (str(high_water(recording, "messages")), f"messages at most, of {recording.run.limits.messages}"),
        (str(most_open(recording)), "open at once, as clients saw it"),
        (f"{len({visit.client for visit in visits}):,}", "clients"),
        (f"{sum(visit.entrance == 'let_in' for visit in visits):,}", "connections"),
        (f"{sum(visit.entrance == 'denied' for visit in visits):,}", "denied with a code"),
        (f"{sum(exchange.outcome == 'answered' for exchange in exchanges):,}", "messages answered"),
        (f"{len(recording.stored):,}", "exchanges in history"),
    )
    return '<dl class="numbers">' + "".join(f"<div><dd>{n}</dd><dt>{what}</dt></div>" for n, what in figures) + "</dl>"


def _verdicts(verdicts: Iterable[CheckVerdict]) -> str:
    rows = "".join(
        f'<tr><td><span class="badge {LOOK[v.judgement]}">{v.judgement}</span></td>'
        f'<td>{escape(v.title)}</td><td class="detail">{escape(v.detail)}</td></tr>'
        for v in verdicts
    )
    return f'<div class="card"><table class="verdicts"><tbody>{rows}</tbody></table></div>'


def _times(recording: RunRecording) -> str:
    rows = "".join(
        f'<tr><th>{NAMES[name]}</th><td class="number">{row["count"]:,}</td>'
        + "".join(f'<td class="number">{row[column]:.2f} s</td>' for column in ("p50", "p95", "p99", "most"))
        + "</tr>"
        for name, row in times(recording).items()
    )
    head = "".join(f'<th class="number">{name}</th>' for name in ("count", "p50", "p95", "p99", "most"))
    return f'<div class="card"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _refusals(recording: RunRecording) -> str:
    rows = "".join(
        f'<tr><td>{escape(what)}</td><td>{escape(code)}</td><td class="number">{count:,}</td></tr>'
        for what, codes in refusals(recording).items()
        for code, count in codes.items()
    )
    none = '<tr><td class="detail">there were none</td></tr>'
    return f'<div class="card"><table><tbody>{rows or none}</tbody></table></div>'
