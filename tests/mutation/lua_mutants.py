"""What can be changed in the Lua scripts of a pool, one place at a time. They are read line by line, not parsed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SWAPS = {
    " < ": " <= ",
    " <= ": " < ",
    " > ": " >= ",
    " >= ": " > ",
    " == ": " ~= ",
    " ~= ": " == ",
    " and ": " or ",
    " or ": " and ",
    " + ": " - ",
    " - ": " + ",
    "not ": "",
    "true": "false",
    "false": "true",
    "math.min": "math.max",
    "math.max": "math.min",
}
_SWAP = re.compile(r"(?:(?<= )|(?<=\())not |\b(?:true|false|math\.min|math\.max)\b| (?:[<>]=?|[=~]=|and|or|[+-]) ")
_NUMBER = re.compile(r"(?<![\w.'\[])\d+(?![\w.'])")
_STATEMENT = re.compile(r"\s*(?:[\w.]+\(.*\)|[\w.\[\], ]+ = .*[^{(,])")
"""A call or an assignment that ends in its line. One of a `local` is not: without it the name is that of another."""
_STRING = re.compile(r"'[^']*'")
_FUNCTION = re.compile(r"local function (\w+)")


@dataclass(frozen=True, slots=True)
class LuaMutant:
    """A change to a file of Lua.

    Attributes:
        line: where it is changed.
        name: what tells it from the others of its file, also when lines have moved: the function, the old line and the
            new one.
        text: the changed file.
        function: None; no function of Python is changed.
    """

    line: int
    name: str
    text: str
    function: None = None


def lua_mutants_of(source: str) -> list[LuaMutant]:
    """Return every change that is made to a file."""
    lines = source.splitlines(keepends=True)
    found = []
    function = "script"
    for index, line in enumerate(lines):
        if begun := _FUNCTION.match(line):
            function = begun[1]
        elif line.startswith("end"):
            function = "script"
        code = line.partition("--")[0]
        if line.startswith("#!"):
            continue
        for changed in _changes(code.rstrip()):
            name = f"{function}: {code.strip()}  →  {changed.strip()}"
            text = "".join([*lines[:index], f"{changed}\n", *lines[index + 1 :]])
            found.append(LuaMutant(index + 1, name, text))
    return found


def _changes(code: str) -> Iterator[str]:
    words = [range(*word.span()) for word in _STRING.finditer(code)]
    for swap in _SWAP.finditer(code):
        if not any(swap.start() in word for word in words):
            yield code[: swap.start()] + _SWAPS[swap[0]] + code[swap.end() :]
    for number in _NUMBER.finditer(code):
        if not any(number.start() in word for word in words) and "KEYS" not in code:
            yield f"{code[: number.start()]}{int(number[0]) + 1}{code[number.end() :]}"
    if _STATEMENT.fullmatch(code) and not code.lstrip().startswith(("local ", "return ", "if ", "for ", "while ")):
        yield f"{code[: len(code) - len(code.lstrip())]}-- pass"
