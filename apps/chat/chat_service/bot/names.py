"""The names of bots, as `CHAT_BOT` and scripts have them."""

import re
from enum import StrEnum
from typing import Final, Self


class BuiltInBot(StrEnum):
    """A bot that comes with the service.

    Attributes:
        needs: the setting without which it does not start; empty: it needs none.
        needs_meaning: what that setting holds.
    """

    needs: str
    needs_meaning: str

    def __new__(cls, name: str, needs: str = "", needs_meaning: str = "") -> Self:
        """Make a member that equals its name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.needs = needs
        member.needs_meaning = needs_meaning
        return member

    SCRIPT = "script"
    MODEL = "llm", "CHAT_LLM_MODEL", "the name of the model"
    HTTP = "http", "CHAT_BOT_URL", "the address to which turns are posted"


OWN_BOT: Final = re.compile(r"\w+(?:\.\w+)*:\w+(?:\.\w+)*")
OWN_BOT_FORM: Final = "package.module:attribute"


def built_in(name: str) -> BuiltInBot | None:
    """Return the bot of the service with this name; None: there is none."""
    return next((bot for bot in BuiltInBot if bot == name), None)
