"""The page and its plots."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from loadtest.checks.verdicts import judge
from loadtest.client_log import ReconnectStorm
from loadtest.json_lines import as_line
from loadtest.metrics import Metric
from loadtest.monitor import ProcessSample
from loadtest.recording import CLIENT_LOG, FAULTS, HISTORY, SAMPLES, Fault, RunRecording, read_recording
from loadtest.report.page import page, plots
from loadtest.report.plot import Plot, clock, nice, time_step
from loadtest.report.series import Series, percentile, thin
from loadtest.report.write import FIGURES, PAGE, write_report
from tests.loadtest.recordings import denied, exchange, pods, recording, sample, sound, visit


def busy() -> RunRecording:
    return recording(
        [visit("anna", 1, 1.1, 30), denied("eve", 23, 33), visit("<script>", 40, 41, entrance="broken", code="reset")],
        [exchange("anna", 0), exchange("anna", 1, outcome="refused", code="busy")],
        samples=[sample(at, held=2, waiting=at % 5) for at in range(40)],
        pods_looks=[
            pods(at, chat={Metric.OUTBOX_RECORDS: at}, history={Metric.HISTORY_EXCHANGES: at}) for at in (1, 2)
        ],
        processes=[
            ProcessSample(at=at, cpu_seconds={"chat": at / 2}, memory_bytes={"chat": 2**20}) for at in (1, 4, 5, 8)
        ],
        faults=[Fault(at=50, name="kill -9 of chat-0")],
    )


def test_the_page_needs_nothing_from_elsewhere_and_trusts_no_name() -> None:
    made = busy()
    html = page(made, judge(made))
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script", html)
    assert "&lt;script&gt;" in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_every_verdict_and_every_plot_stands_on_the_page() -> None:
    made = busy()
    verdicts = judge(made)
    html = page(made, verdicts)
    assert all(verdict.title in html for verdict in verdicts)
    assert f"{sum(v.judgement == 'broken' for v in verdicts)} of {len(verdicts)} promises broken" in html
    titles = re.findall(r"<figcaption>([^<]+) <", html)
    assert titles == [
        "Connections", "Messages in process", "Queue for connections", "Queue for messages",
        "Time to a reply: text", "Time to a reply: voice", "Time to a reply: video", "Answered", "Denied and refused",
        "Outbox", "Processor", "Memory",
    ]  # fmt: skip
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)


def test_plots_show_what_was_recorded() -> None:
    drawn = {plot.title: plot for plot in plots(busy())}
    named = {title: {series.name: series.points for series in plot.series} for title, plot in drawn.items()}
    assert named["Outbox"]["chat"] == [(1, 1), (2, 2), (99, 0)]
    assert named["Processor"]["chat"] == [(4, 50.0), (8, 50.0)]
    assert named["Memory"]["chat"] == [(1, 1.0), (4, 1.0), (5, 1.0), (8, 1.0)]
    assert set(named["Denied and refused"]) == {"cluster_full", "busy", "no answer"}
    assert max(value for _, value in named["Connections"]["open, as clients see it"]) == 1
    assert drawn["Connections"].limit == 2
    assert drawn["Answered"].marks == [(50, "kill -9 of chat-0")]


def test_pods_elsewhere_tell_of_their_processes_themselves() -> None:
    used = {Metric.CPU_SECONDS: 1.0, Metric.MEMORY_BYTES: 2.0**20}
    made = recording(pods_looks=[pods(at, chat={**used, Metric.CPU_SECONDS: at / 4}) for at in (1, 4, 7)])
    drawn = {plot.title: plot for plot in plots(made)}
    assert drawn["Processor"].unit == "% of one, main processes, as the pods report"
    assert [series.points for series in drawn["Processor"].series] == [[(4, 25.0), (7, 25.0)]]
    assert [series.points for series in drawn["Memory"].series] == [[(1, 1.0), (4, 1.0), (7, 1.0)]]


def test_a_process_that_was_started_again_begins_anew() -> None:
    used = [(1, 9.0), (4, 10.5), (5, 0.1), (8, 1.6)]
    samples = [ProcessSample(at=at, cpu_seconds={"chat": cpu}, memory_bytes={}) for at, cpu in used]
    drawn = {plot.title: plot for plot in plots(recording(processes=samples))}
    assert [series.points for series in drawn["Processor"].series] == [[(4, 50.0), (8, pytest.approx(50.0))]]


def test_a_storm_is_marked_once_though_every_worker_tells_of_it() -> None:
    made = recording(faults=[Fault(at=50, name="kill -9")])
    made.clients.storms.extend(ReconnectStorm(at=at) for at in (35.2, 35.1, 60))
    marks = plots(made)[0].marks
    assert marks == [(35.1, "everybody cut off"), (50, "kill -9"), (60, "everybody cut off")]


def test_a_report_is_written_from_the_files_of_a_run(tmp_path: Path) -> None:
    made = sound()
    made.run.write(tmp_path)
    for name, records in (
        (CLIENT_LOG, [*made.clients.visits.values(), *made.clients.exchanges]),
        (SAMPLES, [*made.pools, *made.pods]),
        (HISTORY, made.stored),
        (FAULTS, []),
    ):
        (tmp_path / name).write_text("".join(f"{as_line(record)}\n" for record in records) + '{"what": "cut o')
    assert read_recording(tmp_path) == made
    told: list[str] = []
    assert write_report(tmp_path, told.append)
    figures = json.loads((tmp_path / FIGURES).read_text())
    assert figures["kept"] is True
    assert figures["high_water"] == {"connections": 2, "messages": 4}
    assert figures["codes"]["denied"] == {"cluster_full": 1}
    assert figures["seconds"]["text"] == {"count": 9, "p50": 0.5, "p95": 0.5, "p99": 0.5, "most": 0.5}
    assert len(told) == len(figures["verdicts"])
    assert (tmp_path / PAGE).read_text().startswith("<!doctype html>")


def test_a_line_is_broken_where_nothing_was_seen() -> None:
    series = Series("held", [(1, 1), (2, 2), (50, 2), (51, 1)])
    svg = Plot(title="t", unit="u", series=[series], seconds=60).draw()
    (path,) = re.findall(r'class="line c0" d="([^"]+)"', svg)
    assert path.count("M") == 2


def test_what_was_seen_once_in_a_while_is_a_dot() -> None:
    svg = Plot(title="t", unit="u", series=[Series("held", [(1, 1), (30, 2)])], seconds=60).draw()
    (path,) = re.findall(r'class="line c0" d="([^"]+)"', svg)
    assert re.fullmatch(r"(M[\d.]+ [\d.]+h0){2}", path)


def test_what_is_counted_holds_until_it_changes() -> None:
    svg = Plot(title="t", unit="u", series=[Series("open", [(0, 1), (50, 2)], stepped=True)], seconds=60).draw()
    (path,) = re.findall(r'class="line c0" d="([^"]+)"', svg)
    assert re.fullmatch(r"M[\d.]+ [\d.]+h0H[\d.]+V[\d.]+", path)


def test_names_of_marks_do_not_stand_on_each_other_or_beyond_the_edge() -> None:
    marks = [(10.0, "kill -9 of chat-0"), (12.0, "restart of Valkey"), (59.0, "kill -9 of chat-1")]
    svg = Plot(title="t", unit="u", series=[], seconds=60, marks=marks).draw()
    names = re.findall(r'class="mark-name" x="[\d.]+"( text-anchor="end")? y="(\d+)"', svg)
    assert [end for end, _ in names] == ["", "", ' text-anchor="end"']
    assert names[0][1] != names[1][1]
    assert names[0][1] == names[2][1]


def test_thinning_keeps_peaks_and_the_last_of_each_stretch() -> None:
    points = [(float(at), 1000.0 if at == 777 else 1.0) for at in range(5000)]
    few = thin(points, 100)
    assert len(few) <= 100
    assert (777, 1000) in few
    assert few == sorted(few)
    assert few[few.index((777, 1000)) + 1][1] == 1


@pytest.mark.parametrize(("value", "top"), [(0.03, 0.03), (57.5, 60), (575, 600), (1.01, 1.2), (9, 10)])
def test_axes_end_at_round_figures(value: float, top: float) -> None:
    assert nice(value) == pytest.approx(top)


def test_times_are_written_at_round_distances() -> None:
    assert [time_step(seconds) for seconds in (9, 95, 300, 3600)] == [2, 15, 60, 600]
    assert [clock(seconds) for seconds in (0, 95, 3600)] == ["0:00", "1:35", "60:00"]


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([], 50) == 0
