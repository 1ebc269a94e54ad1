"""Finding a bot by its name: `package.module:attribute`."""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from botkit.errors import BotNotFound
from botkit.memory import Memory
from botkit.responder import Reply, Responder
from botkit.turn import Turn

TURN_AND_MEMORY: Final = 2  # arguments of a function that is a bot by itself


class FunctionBot:
    """A bot that is one function of turn and memory."""

    def __init__(self, function: Callable[[Turn, Memory], Reply | Awaitable[Reply]]) -> None:
        self._function = function

    def reply(self, turn: Turn, memory: Memory, /) -> Reply | Awaitable[Reply]:
        """Return what the function says."""
        return self._function(turn, memory)


def load_bot(name: str) -> Responder:
    """Return the bot that a name leads to.

    Args:
        name: `package.module:attribute`. The attribute is a bot (an object with `reply`), a function of a turn and a
            memory, or a factory: a class or function without arguments that returns a bot.

    Raises:
        BotNotFound: there is no such module or attribute, it cannot be imported, or it is no bot.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise BotNotFound(f'"{name}" names no bot; write package.module:attribute, for example my_bot:bot')
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise BotNotFound(f"{module_name} needs the module {exc.name}, which is not installed") from exc
        raise BotNotFound(f"there is no module {exc.name}; is its folder on PYTHONPATH?") from exc
    except Exception as exc:
        raise BotNotFound(f"{module_name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise BotNotFound(f"{module_name} has no {attribute}") from exc
    return as_bot(found, name)


def as_bot(found: Any, name: str = "this") -> Responder:  # noqa: ANN401 - whatever a name leads to
    """Return a bot in any of its forms as an object with `reply`.

    Args:
        found: a bot, a function of a turn and a memory, or a factory.
        name: what the error calls it.

    Raises:
        BotNotFound: it is none of these, or the factory fails.
    """
    if not inspect.isclass(found) and isinstance(found, Responder):
        return found
    if not callable(found):
        raise BotNotFound(f"{name} is a {type(found).__name__}; it must have reply(turn, memory) or return a bot")
    if not inspect.isclass(found) and _required_arguments(found) == TURN_AND_MEMORY:
        return FunctionBot(found)
    if _required_arguments(found) != 0:
        raise BotNotFound(f"{name} must be a function of (turn, memory), or a factory without arguments")
    try:
        made = found()
    except Exception as exc:
        raise BotNotFound(f"{name} failed to make a bot: {type(exc).__name__}: {exc}") from exc
    if not isinstance(made, Responder):
        raise BotNotFound(f"{name} returned a {type(made).__name__}, which has no reply(turn, memory)")
    return made


def _required_arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some built-in classes do not tell
        return 0
    return sum(
        each.default is each.empty and each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}
        for each in parameters
    )
