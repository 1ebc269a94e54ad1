"""The Lua scripts: read from `permits/lua`, put together, told apart by the SHA-1 that Redis knows them by."""

import re
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from hashlib import sha1
from importlib import resources


class CallStatus(IntEnum):
    """What became of a call, as `lua/pool.lua` says it."""

    DONE = 1
    GONE = 0
    """The incarnation was reaped or replaced: what it held is lost."""
    STALE = -1
    """A newer connection of the same pod has spoken since."""
    FORGOTTEN = -2
    """The store has lost its memory since: declare what is held."""
    NEWER = -3
    """A newer version of this software uses the pool: stay out."""
    SHUT_OUT = -4
    """An operator refuses this pod."""
    NAMELESS = -5
    """The server does not say who it is, so that nobody could tell it from another."""


class Code(IntEnum):
    """What became of an acquire or a leave, as `lua/pool.lua` says it."""

    GRANTED = 1
    WAITING = 2
    FULL = 3
    CLIENT_LIMIT = 4
    LINE_FULL = 5
    LEFT = 6
    NOWHERE = 7
    LEARNING = 8
    REPLACED = 9


CODES = {code.value: code for code in Code}
"""As `Code(…)`, for a tenth of the time."""


WAS_REPLACED = -1
"""Handed to a waiter instead of a ticket: another request has taken its place. 0: its client is at its limit."""


_PART = re.compile(r"^ *-- HERE STANDS (\w+)\.lua$", re.MULTILINE)
"""Where a script needs a part that not all of them share. In `operate` that is in a branch."""

_LOOKS = re.compile(r"^local LOOKS = \d+ ", re.MULTILINE)

_VALUE = r"(?:-?\d+|'\w+'|KEYS\[\d+\])"
_CONSTANTS = re.compile(rf"^local ([A-Z_]+(?:, [A-Z_]+)*) = ({_VALUE}(?:, {_VALUE})*)(?: --.*)?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LuaScript:
    """One script, whole."""

    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class LuaScripts:
    """The scripts of a pool, one for each file."""

    enter: LuaScript
    declare: LuaScript
    operate: LuaScript
    renew: LuaScript
    leave: LuaScript
    holdings: LuaScript
    peek: LuaScript
    state: LuaScript
    show: LuaScript
    set: LuaScript

    def all(self) -> tuple[LuaScript, ...]:
        """Return each of them, for loading."""
        return tuple(getattr(self, field.name) for field in fields(self))


@cache
def load_scripts(server: str | None = None, looks: int | None = None) -> LuaScripts:
    """Read the scripts that come with this package.

    Args:
        server: Lua in place of `lua/server.lua`, for a server with another clock. None: that file itself.
        looks: at how many records one script looks. None: as many as `lua/pool.lua` says.
    """
    pool = _read("pool")
    if looks is not None:
        pool = _LOOKS.sub(f"local LOOKS = {looks} ", pool, count=1)
    shared = "\n".join((_read("server") if server is None else server, _read("records"), pool))
    return LuaScripts(**{field.name: _compose(field.name, shared) for field in fields(LuaScripts)})


def _compose(name: str, shared: str) -> LuaScript:
    first_line, _, body = _read(name).partition("\n")  # Redis wants the flags in the very first line
    body = _PART.sub(lambda found: _read(found[1]), body)
    text = inline_constants(f"{first_line}\n{shared}\n{body}")
    return LuaScript(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def inline_constants(text: str) -> str:
    """Put the values of constants where their names stand.

    Lua 5.1 makes an object for each local that a function of a script uses, in each call of the script. With the
    constants that was an eighth of the time of a short call.
    """
    values: dict[str, str] = {}
    for names, words in _CONSTANTS.findall(text):
        values |= zip(names.split(", "), words.split(", "), strict=True)
    names = "|".join(values)
    return re.sub(rf"(?<![\w'])(?:{names})(?!\w)", lambda found: values[found[0]], _CONSTANTS.sub("", text))


def _read(name: str) -> str:
    return (resources.files("permits") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
