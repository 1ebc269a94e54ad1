"""docs/metrics.md lists the metrics that there are, each with its labels."""

import re
from pathlib import Path

from tests.charts.metrics import OF_KUBERNETES, exported, labels, names
from tests.support.pages import ROOT

PAGE = (ROOT / "docs/metrics.md").read_text("utf-8")
OF_A_WHOLE_PART = {"Permits": "pool", "Bots": "bot"}  # labels that are named once, above the table
SERIES = re.compile(r"_(bucket|count|sum|created)$")  # of a histogram or a counter, which is one metric


def test_the_page_has_every_metric_and_no_others(tmp_path: Path) -> None:
    shown = {SERIES.sub("", name) for name in names(exported(tmp_path)) if name.startswith("chatbot_")}
    shown = {name for name in shown if f"{name}_total" not in shown}  # when a counter was made
    assert re.findall(r"^\| `(chatbot_\w+)`", PAGE, re.MULTILINE) == list(dict.fromkeys(_rows()))
    assert set(_rows()) == shown


def test_each_has_the_labels_that_the_page_names() -> None:
    assert _rows() == {name: labels(name) - OF_KUBERNETES for name in _rows()}


def _rows() -> dict[str, frozenset[str]]:
    rows = {}
    for part in PAGE.split("\n## ")[1:]:
        shared = {label for title, label in OF_A_WHOLE_PART.items() if part.startswith(f"{title}\n")}
        for name, own in re.findall(r"^\| `(chatbot_\w+)` \|([^|]*)\|", part, re.MULTILINE):
            rows[name] = frozenset({*re.findall(r"`(\w+)`", own), *shared})
    return rows
