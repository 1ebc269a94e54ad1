"""The pages of the project and the Python in them. Each page with examples has a test that runs them all."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LEFT_OUT: Final = {"node_modules", "data"}

BLOCK: Final = re.compile(r"^([ \t]*)```py(?:thon)?\b[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)

RUN_BY: Final = {
    "client/README.md": "tests/client/test_documentation.py",
    "docs/bots.md": "tests/chat/bot/test_own_bots.py",
    "docs/talk-from-anything.md": "tests/standalone/test_talk_from_anything.py",
    "libs/botkit/README.md": "tests/botkit/test_readme.py",
    "libs/frameproto/README.md": "tests/frameproto/test_readme.py",
    "libs/permits/README.md": "tests/permits/test_package.py",
    "libs/permits/docs/celery.md": "tests/permits/test_guides.py",
    "libs/permits/docs/cron.md": "tests/permits/test_guides.py",
    "libs/permits/docs/fastapi.md": "tests/permits/test_guides.py",
    "libs/servicekit/README.md": "tests/servicekit/test_readme.py",
}
"""Which test runs the examples of which page. tests/test_examples.py holds the table to the pages."""


def pages() -> Iterator[str]:
    """Yield every Markdown page of the project, by its path."""
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") or part in LEFT_OUT for part in parts):
            yield "/".join(parts)


def python_blocks(page: str) -> list[str]:
    """Return every block of Python on a page, also one that is indented, as in a list."""
    text = (ROOT / page).read_text("utf-8")
    return [
        found[2]
        for found in re.finditer(r"^([ \t]*)```py(?:thon)?\b[^\n]*\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    ]


def python_examples(page: str) -> list[str]:
    """Return the examples of a page to the test that runs them. The test unpacks them, so that none is added unseen."""
    assert page in RUN_BY, f"say in tests/support/pages.py which test runs the examples of {page}"
    return python_blocks(page)
