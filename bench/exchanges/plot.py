"""What a run has found, as a picture: CPU of one exchange, a panel for each case that has several contenders."""

from html import escape
from pathlib import Path
from typing import Final

from bench.exchanges.contenders import OURS
from bench.exchanges.report import CPU, ExchangeReport, ReportRow

WIDTH, LEFT, RIGHT = 760, 220, 90
BAR, TITLE, GAP = 22, 30, 14
OURS_COLOUR, OTHER_COLOUR, WHISKER = "#1b7f5c", "#9aa7b1", "#444444"
STYLE: Final = "text{font:12px sans-serif;fill:#24292f}.title{font-size:13px;font-weight:600}"


def draw(report: ExchangeReport, path: Path) -> None:
    """Write bars with the range of the repetitions as an SVG file."""
    panels = [
        (f"{part}: {case}", rows) for part, case, rows in report.cases() if len(rows) > 1 and CPU in rows[0].figures
    ]
    height = sum(TITLE + len(rows) * BAR + GAP for _, rows in panels) + GAP
    parts, top = [], float(GAP)
    for title, rows in panels:
        parts.append(f'<text class="title" x="12" y="{top + 14:.0f}">{escape(f"{CPU} an exchange, {title}")}</text>')
        parts += _bars(rows, top + TITLE)
        top += TITLE + len(rows) * BAR + GAP
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>CPU of an exchange by contender</title><style>{STYLE}</style>"
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>{"".join(parts)}</svg>\n',
        encoding="utf-8",
    )


def _bars(rows: list[ReportRow], top: float) -> list[str]:
    most = max(max(row.figures[CPU].values) for row in rows)
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = []
    for number, row in enumerate(rows):
        cpu = row.figures[CPU]
        y = top + number * BAR
        middle = y + BAR / 2 - 2
        colour = OURS_COLOUR if row.contender.startswith(OURS) else OTHER_COLOUR
        low, high = LEFT + min(cpu.values) * scale, LEFT + max(cpu.values) * scale
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(row.contender)}</text>',
            f'<rect x="{LEFT}" y="{y:.0f}" width="{cpu.median * scale:.1f}" height="{BAR - 4}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}" stroke="{WHISKER}"/>',
            f'<text x="{high + 6:.1f}" y="{middle + 4:.0f}">{cpu.median:,.0f}</text>',
        ]
    return parts
