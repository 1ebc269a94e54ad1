"""A chat pod that breaks one promise: `python -m tests.loadtest.broken_pod`, with BREAK in the environment."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha1
from itertools import count

import permits.redis.pool as redis_pool
from chat_service.__main__ import main
from chat_service.outbox import OnKept, Outbox
from chat_service.settings import ChatSettings
from frameproto.exchange import Exchange
from permits.redis.scripts import LuaScript, LuaScripts, load_scripts
from servicekit import logs
from servicekit.runner import run
from servicekit.settings import load

EXTRA = 3


def nothing() -> None:
    """Run without a fault."""


def too_many_granted() -> None:
    """Let the pool grant a few permits more than its capacity."""
    _change_scripts(("capacity - reserved - held", f"capacity + {EXTRA} - reserved - held"))


def line_served_from_its_end() -> None:
    """Let the pool serve the last one in the queue first."""
    _change_scripts(("call('ZPOPMIN', KEYS[6], most)", "call('ZPOPMAX', KEYS[6], most)"))


def exchanges_dropped() -> None:
    """Answer, but keep only four of five exchanges."""
    keep, numbers = Outbox.keep, count(1)

    def forgetful(self: Outbox, exchange: Exchange, on_kept: OnKept) -> None:
        if next(numbers) % 5:
            keep(self, exchange, on_kept)
        else:
            asyncio.get_running_loop().call_soon(on_kept, None)

    Outbox.keep = forgetful  # type: ignore[method-assign]


def _change_scripts(*changes: tuple[str, str]) -> None:
    # In the loaded scripts, names of keys are replaced: the queue, LINE, is KEYS[6].
    def changed(script: LuaScript) -> LuaScript:
        text = script.text
        for old, new in changes:
            text = text.replace(old, new)
        return replace(script, text=text, sha=sha1(text.encode(), usedforsecurity=False).hexdigest())

    sound = load_scripts()
    scripts: dict[str, LuaScript] = {name: getattr(sound, name) for name in LuaScripts.__slots__}
    for old, _ in changes:
        assert any(old in script.text for script in scripts.values()), f"no script says {old} any more"
    broken = LuaScripts(**{name: changed(script) for name, script in scripts.items()})
    redis_pool.load_scripts = lambda: broken  # type: ignore[assignment, attr-defined]


FAULTS: dict[str, Callable[[], None]] = {
    fault.__name__: fault for fault in (nothing, too_many_granted, line_served_from_its_end, exchanges_dropped)
}

if __name__ == "__main__":
    FAULTS[os.environ["BREAK"]]()
    settings = load(ChatSettings, prog="broken", description="A pod that breaks a promise.")
    logs.configure(settings.log_level, settings.log_format)
    sys.exit(run(main(settings)))
