import sys
from pathlib import Path

import pytest

from botkit import BotNotFound, Memory, Turn, load_bot
from botkit.testing import BotClient

BOTS = """
from botkit import Memory, Turn

class Named:
    def __init__(self, name="Pip"):
        self.name = name
    def reply(self, turn, memory):
        return f"{self.name}: {turn.text}"

ready = Named("ready")
factory = lambda: Named("made")

def function(turn: Turn, memory: Memory) -> str:
    return turn.text.upper()

async def later(turn, memory):
    return turn.text[::-1]

async def in_pieces(turn, memory):
    for word in turn.text.split():
        yield word + " "

def with_arguments(one, two, three):
    return None

def makes_nothing():
    return None

def breaks():
    raise OSError("no disk")

number = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trial_bots.py").write_text(BOTS)
    (tmp_path / "trial_broken.py").write_text("1 / 0")
    (tmp_path / "trial_needy.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trial_bots", "trial_broken", "trial_needy"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("ready", "ready: good day"),
        ("factory", "made: good day"),
        ("Named", "Pip: good day"),
        ("function", "GOOD DAY"),
        ("later", "yad doog"),
        ("in_pieces", "good day "),
    ],
)
async def test_whatever_can_reply_is_a_bot(name: str, reply: str) -> None:
    async with BotClient(load_bot(f"trial_bots:{name}")) as anna:
        assert await anna.say("good day") == reply


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("trial_bots", "write package.module:attribute"),
        ("trial_bots:", "write package.module:attribute"),
        ("no_such_module_anywhere:bot", "no module no_such_module_anywhere; is its folder on PYTHONPATH"),
        ("trial_bots.deeper:bot", "no module trial_bots.deeper"),
        ("trial_needy:bot", "needs the module no_such_module_anywhere, which is not installed"),
        ("trial_broken:bot", "cannot be imported: ZeroDivisionError"),
        ("trial_bots:nobody", "has no nobody"),
        ("trial_bots:number", "is a int"),
        ("trial_bots:with_arguments", "a function of"),
        ("trial_bots:makes_nothing", "returned a NoneType"),
        ("trial_bots:breaks", "failed to make a bot: OSError: no disk"),
    ],
)
def test_a_name_that_leads_to_no_bot_says_why(name: str, why: str) -> None:
    with pytest.raises(BotNotFound, match=why):
        load_bot(name)


async def test_a_conversation_takes_a_bot_in_every_form() -> None:
    class Loud:
        def reply(self, turn: Turn, memory: Memory) -> str:  # noqa: ARG002 - the interface's parameter
            return turn.text.upper()

    def loud(turn: Turn, memory: Memory) -> str:
        return Loud().reply(turn, memory)

    for bot in (Loud(), Loud, loud, lambda: Loud()):  # noqa: PLW0108 - a factory
        assert await BotClient(bot).say("hello") == "HELLO"
    with pytest.raises(BotNotFound, match="this is a int"):
        BotClient(3)  # type: ignore[arg-type]
