"""Plots as files of their own, for documents: each carries its title, its legend and its colours."""

import re
from html import escape
from pathlib import Path
from typing import Final

from loadtest.recording import RunRecording
from loadtest.report.page import STYLE, plots
from loadtest.report.plot import COLOURS, HEIGHT, LEFT, LETTER, WIDTH, Plot

HEAD: Final = 24
FOOT: Final = 20
NOT_A_WORD: Final = re.compile(r"[^a-z]+")


def write_pictures(recording: RunRecording, folder: Path) -> list[Path]:
    """Write each plot into a file that is named for its title."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for plot in plots(recording):
        path = folder / f"{NOT_A_WORD.sub('-', plot.title.lower())}.svg"
        path.write_text(picture(plot), encoding="utf-8")
        written.append(path)
    return written


def picture(plot: Plot) -> str:
    """Return a plot as an SVG that needs nothing else."""
    height = HEAD + HEIGHT + (0 if plot.filled and len(plot.series) == 1 else FOOT)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif">'
        f"<title>{escape(plot.title)}</title><style>{_style()}</style>"
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="var(--card)"/>'
        f'<text class="title" x="12" y="19">{escape(plot.title)}, {escape(plot.unit)}</text>'
        f'<g transform="translate(0 {HEAD})">{plot.inside()}</g>{_legend(plot, height)}</svg>\n'
    )


def _style() -> str:
    """Return what of the page's style concerns plots."""
    lines = STYLE.read_text(encoding="utf-8").splitlines()
    colours = lines[: lines.index("* { box-sizing: border-box; }")]
    drawn = (".grid", ".line.", ".limit", ".mark", ".area", "svg text", "svg .")
    kept = [line.strip() for line in (*colours, *(line for line in lines if line.startswith(drawn)))]
    return "".join((*kept, "svg .title{fill:var(--ink);font-size:14px;font-weight:600}"))


def _legend(plot: Plot, height: int) -> str:
    if plot.filled and len(plot.series) == 1:
        return ""
    parts, x = [], float(LEFT)
    for number, series in enumerate(plot.series):
        parts.append(f'<path class="line c{number % COLOURS}" d="M{x:.0f} {height - 12}h12"/>')
        parts.append(f'<text x="{x + 17:.0f}" y="{height - 8}">{escape(series.name)}</text>')
        x += 34 + len(series.name) * LETTER
    return "".join(parts)
