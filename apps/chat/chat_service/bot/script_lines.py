"""Where in a TOML file the parts of a script stand, which the parser does not say."""

import re
from collections.abc import Sequence
from typing import Final

TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""'  # strings first, so that what looks like a header in one is none
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*",
    re.DOTALL,
)
HEADER: Final = re.compile(r"\s*\[+\s*([\w.-]+)\s*\]+")
KEY: Final = re.compile(r"\s*([\w-]+|\x00+)\s*=")


class ScriptLines:
    """The lines of the keys of a script.

    Args:
        source: the file, which is TOML.
    """

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self._of: dict[tuple[str | int, ...], int] = {}
        table: tuple[str | int, ...] = ()
        rules = 0
        for number, line in enumerate(TOKEN.sub(_blanked, source).split("\n"), 1):
            if header := HEADER.match(line):
                table = (header[1],)
                if header[1] == "rule":
                    table = ("rule", rules)
                    rules += 1
                self._of.setdefault(table, number)
            elif KEY.match(line):
                key = self._lines[number - 1].partition("=")[0].strip().strip("\"'")
                self._of.setdefault((*table, key), number)

    def of(self, where: Sequence[str | int], quoted: str = "") -> int | None:
        """Return the line of a key, or of the table that it should stand in; None for what is missing at the top.

        Args:
            where: the way to it, as pydantic tells it.
            quoted: what of its value is wrong, to find the line in a long list.
        """
        at = tuple(where)
        while at and at not in self._of:
            at = at[:-1]
        line = self._of.get(at)
        if line is None or not quoted:
            return line
        after = (number for number in range(line, len(self._lines) + 1) if quoted in self._lines[number - 1])
        return next(after, line)


def _blanked(token: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "\0", token[0])
