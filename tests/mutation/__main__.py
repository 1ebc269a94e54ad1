"""Change modules and see whether tests notice: python -m tests.mutation [--sample N] [--seconds N] [MODULE …]."""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from devtools.servers import ROOT
from devtools.valkey import run_valkey
from tests.mutation.mutants import Mutant, mutants_of

CONTRACT = [f"tests/contract/test_permit_pool{what}.py" for what in ("", "_use", "_request")]
STORE = [
    *(f"tests/permits/test_{name}.py" for name in ("lease", "reusable_timeout", "places", "misuse", "store_calls")),
    "tests/permits/test_state_machine.py",
    *CONTRACT,
    *("-k", "not memory and not redis-"),
]
OUTBOX_PARTS = (
    *("disposal", "files", "outbox", "queue", "reader", "records", "recovery"),
    *("segment_reader", "segments", "spool", "writer"),
)
OUTBOX = [f"tests/chat/test_outbox{what}.py" for what in ("", "_log", "_faults", "_disk")]
RELAY = ["tests/chat/test_relay.py", "tests/chat/test_relay_poison.py"]
MEMORY = [*CONTRACT, "tests/contract/test_permit_pool_observer.py", "-k", "memory or not redis"]
TARGETS = {
    "permits.pool": MEMORY,
    "permits.memory": MEMORY,
    "permits.arguments": ["tests/permits/test_misuse.py", *MEMORY],
    "permits.memory_line": MEMORY,
    "permits.memory_permit": MEMORY,
    "permits.memory_request": MEMORY,
    "permits.permit_block": MEMORY,
    "permits.sync": ["tests/permits/test_sync.py"],
    "permits.call_future": ["tests/permits/test_sync.py"],
    "permits.sync_worker": ["tests/permits/test_sync.py"],
    "permits.redis.lease": STORE,
    "permits.redis.requests": STORE,
    "permits.redis.wait_deadlines": STORE,
    **{f"permits.redis.{part}": STORE for part in ("calls", "dispatch", "pending", "replies", "session", "store")},
    **{f"chat_service.outbox.{part}": OUTBOX for part in OUTBOX_PARTS},
    "chat_service.relay": RELAY,
    "chat_client.outgoing": ["tests/client/test_outgoing.py", "tests/client/test_resending.py"],
    "chat_client.retry": ["tests/client/test_retry.py"],
    "chat_service.delivery": RELAY,
    "chat_service.conversation": ["tests/chat/test_conversation.py", "tests/chat/test_conversation_machine.py"],
    "history_service.ingest": ["tests/history/test_ingest.py", "tests/history/api/test_exchanges.py"],
    "history_service.api.access": ["tests/history/api/test_access.py"],
}
"""Which tests should notice a change, by module. Few enough that they take seconds."""

LOADED = ("redis.asyncio", "hypothesis", "starlette.applications", "aiohttp", "pydantic_settings", "looptime")
"""What tests import of others; loaded once for all changes."""
QUIETLY = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
PATIENCE = 4.0
"""A change that makes the tests take so many times as long has been noticed."""
LEAST_SECONDS = 30.0


@dataclass(slots=True)
class Score:
    """What became of the changes to one module."""

    made: int
    tried: int = 0
    noticed: int = 0


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed source in place of a module."""

    def __init__(self, name: str, path: str, source: str) -> None:
        self._name = name
        self._path = path
        self._code = compile(source, path, "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find the one module."""
        del path, target
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source."""
        exec(self._code, module.__dict__)


def main() -> int:
    """Run, print what survived, and return 0; the score is for people to look at."""
    parser = argparse.ArgumentParser(prog="./taskw test:mutation --", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, default=0, help="changes of each module, by chance; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of that chance")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each module; the rest is left out")
    parser.add_argument("--lines", help="only changes in these lines, such as 10-40")
    told = parser.parse_args()
    os.chdir(ROOT)
    for name in LOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder, run_valkey(Path(folder)) as valkey:
        os.environ["TEST_REDIS_URL"] = valkey.url
        for module in told.modules or TARGETS:
            _report(module, told.sample, random.Random(told.seed), told.lines, told.seconds)
    return 0


def _report(module: str, sample: int, chance: random.Random, lines: str | None, seconds: float) -> None:
    spec = importlib.machinery.PathFinder.find_spec(module.split(".", maxsplit=1)[0])
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]).joinpath(*module.split(".")[1:]).with_suffix(".py")
    source = path.read_text()
    mutants = mutants_of(source)
    if lines is not None:
        first, last = map(int, lines.split("-"))
        mutants = [mutant for mutant in mutants if first <= mutant.line <= last]
    score = Score(len(mutants))
    chance.shuffle(mutants)
    mutants = mutants[: sample or None]
    begun = time.monotonic()
    if not _passes(module, str(path), Mutant(0, "nothing", source), 600.0):
        _say(f"{module}: its tests fail without any change")
        return
    limit = max(LEAST_SECONDS, PATIENCE * (time.monotonic() - begun))
    over_at = time.monotonic() + seconds
    for mutant in mutants:
        if time.monotonic() > over_at:
            break
        score.tried += 1
        if _passes(module, str(path), mutant, limit):
            _say(f"  {module}:{mutant.line}: {mutant.what}")
        else:
            score.noticed += 1
    share = 100 * score.noticed // max(1, score.tried)
    _say(f"{module}: {score.noticed} of {score.tried} noticed ({share} %), of {score.made} possible")


def _passes(module: str, path: str, mutant: Mutant, seconds: float) -> bool:
    """Run the tests of a module with a change, in a fork."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            sys.meta_path.insert(0, Changed(module, path, mutant.source))
            code = pytest.main([*QUIETLY, *TARGETS[module]])
        finally:
            os._exit(int(code))
    end = time.monotonic() + seconds
    for stop in (signal.SIGINT, signal.SIGKILL):  # the first lets it end the servers that it has started
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status == 0
            time.sleep(0.05)
        os.kill(child, stop)
        end = time.monotonic() + 30
    os.waitpid(child, 0)
    return False


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
