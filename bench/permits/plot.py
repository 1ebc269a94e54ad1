"""What a run has found, as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.permits.contenders import OURS
from bench.permits.report import PermitReport
from bench.samples import Sample

OURS_COLOR, OTHER_COLOR = "#1b7f5c", "#9aa7b1"
BAR_INCHES, FRAME_INCHES = 0.3, 0.9


def draw(report: PermitReport, path: Path) -> None:
    """Write bars with the range of the repetitions as an SVG file; text stays text."""
    panels = [panel for panel in _panels(report) if panel[1]]
    heights = [len(bars) * BAR_INCHES + FRAME_INCHES for _, bars in panels]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (title, bars) in zip(axes, panels, strict=True):
        _bars(axis, title, bars)
    mpl.rcParams["svg.fonttype"] = "none"
    figure.savefig(path, format="svg", metadata={"Date": None})


Bars = Sequence[tuple[str, Sample]]


def _panels(report: PermitReport) -> list[tuple[str, Bars]]:
    levels = sorted({row.tasks for row in report.pairs})
    return [
        *(
            (
                f"pairs of acquire and release per second, {tasks} tasks",
                [(row.contender, row.per_second) for row in report.pairs if row.tasks == tasks],
            )
            for tasks in levels
        ),
        ("grants per second, many want few", [(row.contender, row.per_second) for row in report.contended]),
        ("hand-off, µs (p50)", [(row.contender, row.p50_us) for row in report.handoffs]),
    ]


def _bars(axis: Axes, title: str, bars: Bars) -> None:
    names = [name for name, _ in bars]
    medians = [sample.median for _, sample in bars]
    below = [sample.median - min(sample.values) for _, sample in bars]
    above = [max(sample.values) - sample.median for _, sample in bars]
    colors = [OURS_COLOR if name == OURS.name else OTHER_COLOR for name in names]
    drawn = axis.barh(names, medians, xerr=[below, above], color=colors, ecolor="#444444", capsize=2)
    axis.bar_label(drawn, labels=[f"{value:,.0f}" for value in medians], padding=6, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
