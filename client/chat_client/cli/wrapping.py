"""Text on a terminal: words wrapped behind what stands before them, Markdown shown as it is meant.

Where a program reads, lines stay as they are.
"""

import re
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROW_COLUMNS: Final = 60
LEAST_COLUMNS: Final = 10
NARROW_INDENT: Final = 2
MARKED: Final = re.compile(
    r"^\s{0,3}(#{1,6} |[-*+] |\d{1,3}[.)] |> |```|~~~|\|.*\|)|\*\*\S|__\S|`[^`\n]+`|\[[^\]\n]+\]\([^)\n]+\)",
    re.MULTILINE,
)
"""What Markdown looks like. A text without any of it is shown as it was written."""

FENCE: Final = re.compile(r"^\s{0,3}(```|~~~)")


def print_hanging(console: Console, head: str, body: str, *, tail: str = "", markdown: bool = False) -> None:
    """Print a text behind a head, its lines all beginning where the first one does, and a tail behind the last one.

    On a narrow terminal the text begins on a line of its own. What is no terminal gets it as it is.

    Args:
        console: where to.
        head: in the markup of rich.
        body: plain text.
        tail: in the markup of rich.
        markdown: the text may be Markdown, which a terminal shows as it is meant.
    """
    first, text, last = Text.from_markup(head), Text(body), Text.from_markup(tail)
    if not console.is_terminal:
        console.print(Text.assemble(first, text, last), soft_wrap=True)
        return
    narrow = console.width < NARROW_COLUMNS
    if narrow and not first.plain.strip():
        first = Text(" " * NARROW_INDENT)
    indent = NARROW_INDENT if narrow else first.cell_len
    width = max(console.width - indent - 1, LEAST_COLUMNS)
    lines = _lines(console, text, width, markdown=markdown) or [Text()]
    lines[-1] = Text.assemble(lines[-1], last)
    if narrow and (first.cell_len + max((line.cell_len for line in lines), default=0) > width or len(lines) > 1):
        console.print(first, soft_wrap=True)
    elif lines:
        console.print(Text.assemble(first, lines.pop(0)), soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(" " * indent, line), soft_wrap=True)


def _lines(console: Console, text: Text, width: int, *, markdown: bool) -> list[Text]:
    if not markdown or not MARKED.search(text.plain):
        return list(text.wrap(console, width))
    from rich.markdown import Markdown  # noqa: PLC0415 - it loads a parser, and few texts need it

    shown: RenderableType = Markdown(_keep_line_ends(text.plain), hyperlinks=False)
    options = console.options.update(width=width)
    lines = [
        Text.assemble(*((segment.text, segment.style or "") for segment in line if not segment.control))
        for line in console.render_lines(shown, options, pad=False)
    ]
    for line in lines:
        line.rstrip()
    while lines and not lines[0].plain:
        lines.pop(0)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _keep_line_ends(text: str) -> str:
    """Return Markdown in which the end of a line ends it, as it does in a conversation."""
    fenced = False
    lines: list[str] = []
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced or not line.strip() else f"{line}  ")
    return "\n".join(lines)
