"""Links between the pages of the project lead to a file that is there, and to a heading of it."""

import re
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.pages import ROOT, pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
ELSEWHERE = ("http://", "https://", "mailto:")


def _links(page: str) -> list[str]:
    text = CODE.sub("", FENCED.sub("", (ROOT / page).read_text("utf-8")))
    return [link for link in LINK.findall(text) if not link.startswith(ELSEWHERE)]


@cache
def _anchors(page: Path) -> frozenset[str]:
    return anchors_of(page.read_text("utf-8"))


def anchors_of(text: str) -> frozenset[str]:
    """Return the anchors that a forge gives to the headings of a page."""
    anchors: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        words = LINK.sub("]", heading).lower()
        anchors.append(re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-"))
    again = Counter[str]()
    for at, anchor in enumerate(anchors):
        if again[anchor]:
            anchors[at] = f"{anchor}-{again[anchor]}"
        again[anchor] += 1
    return frozenset(anchors)


@pytest.mark.parametrize("page", [page for page in pages() if _links(page)])
def test_links_lead_to_a_file_and_a_heading(page: str) -> None:
    broken = []
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / unquote(path) if path else ROOT / page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_anchors_are_those_of_a_forge() -> None:
    page = "# `POST /v1/exchanges`\n\n```\n# no heading\n```\n\n## One, [two](x.md#y)\n\n## Again\n\n## Again\n"
    assert anchors_of(page) == {"post-v1exchanges", "one-two", "again", "again-1"}
