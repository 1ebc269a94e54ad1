"""What errors of a server mean, where their words do not say it."""

import re
from typing import Final

_HINTS: Final = (
    (re.compile("Error compiling script|error loading code"), "a pool needs Redis 7.0 or newer, or Valkey"),
    (re.compile("Unknown .*command called from script"), "a pool needs a command that this server does not offer"),
    (re.compile("HELLO must be called with the client already authenticated"), "this server asks for a password"),
    (
        re.compile("No permissions to access a key"),
        "a pool needs the keys that begin with its prefix, and those that begin with permits:{NAME}:",
    ),
)


def with_hint(message: str) -> str:
    """Return an error message with what it means, if that is not plain from its words."""
    hints = [hint for pattern, hint in _HINTS if pattern.search(message)]
    return "; ".join([message, *hints])
