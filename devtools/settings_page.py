"""docs/settings.md, the page of every setting, made from the classes that declare them (`./taskw docs:settings`)."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chat_service.settings import ChatSettings
from history_service.settings import HistorySettings
from servicekit.settings import ServiceSettings
from servicekit.settings.help_page import rows

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"
SERVICES: Final[tuple[tuple[str, type[ServiceSettings]], ...]] = (("Chat", ChatSettings), ("History", HistorySettings))
OPENING: Final = """\
# Settings

Every environment variable of both services. `python -m chat_service --help` and `python -m history_service --help`
print the same tables; `python -m standalone` takes both. This page is written by `./taskw docs:settings` from the
classes that declare the settings.

- Values come from the environment, and from lines `NAME=value` of a file `.env` in the working folder.
  The environment wins.
- An empty variable counts as unset. Lists are comma-separated. Sizes may be written as `16MiB`.
- A wrong value keeps a service from starting. It reports all of them at once, one line each, and ends with exit code 2.
- `PREFIX` is the folder of the Python environment (`sys.prefix`).
- In the chart, `chat.settings` and `history.settings` take these names ([its page](../charts/chatbot/README.md)).
"""


def page() -> str:
    """Return the page as it must be."""
    return "\n".join([OPENING, *(line for title, cls in SERVICES for line in _section(title, cls))])


def _section(title: str, cls: type[ServiceSettings]) -> Iterator[str]:
    yield from (f"## {title}", "", "| variable | default | meaning |", "|---|---|---|")
    for row in rows(cls):
        default = row.default.replace(sys.prefix, "PREFIX")
        default = default if default.startswith("(") else f"`{default}`"
        yield f"| `{row.name}` | {default} | {_cell(row.meaning)} |"
    yield ""


def _cell(text: str) -> str:
    """Escape what Markdown would read as markup."""
    return re.sub(r"([*|<>_])", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
