"""Writes the report into the folder of its recording, and prints the verdicts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loadtest.checks.verdicts import all_passed, judge
from loadtest.recording import read_recording
from loadtest.report.page import page
from loadtest.report.tables import as_json

PAGE: Final = "report.html"
FIGURES: Final = "report.json"


def write_report(folder: Path, tell: Callable[[str], None] = print) -> bool:
    """Write page and JSON into the folder of a run, print each verdict, and return whether all promises were kept."""
    recording = read_recording(folder)
    verdicts = judge(recording)
    (folder / PAGE).write_text(page(recording, verdicts), encoding="utf-8")
    figures = json.dumps(as_json(recording, verdicts), indent=1, ensure_ascii=False)
    (folder / FIGURES).write_text(figures + "\n", encoding="utf-8")
    for verdict in verdicts:
        tell(f"{verdict.judgement.upper():<10}  {verdict.title}: {verdict.detail}")
    return all_passed(verdicts)
