"""Change modules and see whether tests notice: python -m tests.mutation [--sample N] [MODULE …]."""

import argparse
import gc
import importlib
import json
import math
import os
import random
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType

from devtools.servers import ROOT
from devtools.valkey import run_valkey
from tests.mutation.lua_mutants import LuaMutant, lua_mutants_of
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runs import ChangedImport, Test, collect, failing, in_fork, record
from tests.mutation.targets import TARGETS, Target, path_of

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
LOADED = ("redis.asyncio", "hypothesis", "starlette.applications", "aiohttp", "pydantic_settings", "looptime")
"""What tests import of others; loaded once for all changes."""
GRACE_SECONDS = 20.0
"""Tests that take longer than when they were recorded, which made them slow already, are stopped after so much more."""
STEADY_SECONDS = 0.3
"""A test that takes longer may fail because the machine is busy."""
VOICE = os.fdopen(os.dup(1), "w")
"""Stays open in forks, which are silent otherwise."""


@dataclass(slots=True)
class Score:
    """What became of the changes to one module.

    Attributes:
        made: changes that are possible.
        tried: changes that were made.
        killed: a test failed.
        slow: tests did not end. The machine may have been busy.
        equivalent: not tried, because `equivalent.toml` says why no test can notice.
        survived: no test failed.
        unreached: no test executes the line in its own process.
    """

    made: int
    tried: int = 0
    killed: int = 0
    slow: list[str] = field(default_factory=list)
    equivalent: int = 0
    survived: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Module:
    """A module or a Lua script whose changes are tried."""

    name: str
    path: str
    mutants: list[Mutant | LuaMutant]
    score: Score

    def code(self, mutant: Mutant) -> CodeType:
        """Compile the changed module."""
        return compile(mutant.changed(), self.path, "exec")


def main() -> int:
    """Run, print what became of each change, and return 0; the score is for people to look at."""
    names = [module for target in TARGETS for module in target.modules]
    parser = argparse.ArgumentParser(prog="./taskw test:mutation --", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(names))
    parser.add_argument("--sample", type=int, default=0, help="changes of each module, by chance; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of that chance")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each module; the rest is left out")
    parser.add_argument("--declared", action="store_true", help="also constants, defaults of parameters and of fields")
    parser.add_argument("--lines", help="only changes in these lines, such as 10-40")
    parser.add_argument("--results", type=Path, help="a JSON file to which scores are added")
    told = parser.parse_args()
    os.chdir(ROOT)
    for name in LOADED:
        importlib.import_module(name)
    known = {name: set(texts) for name, texts in tomllib.loads(EQUIVALENT.read_text()).items()}
    with tempfile.TemporaryDirectory() as folder, run_valkey(Path(folder)) as valkey:
        os.environ["TEST_REDIS_URL"] = valkey.url
        for target in TARGETS:
            modules = [
                _module(name, told, known.get(name, set()))
                for name in target.modules
                if not told.modules or name in told.modules
            ]
            if modules:
                _run(target, modules, told.seconds, told.results)
    return 0


def _module(name: str, told: argparse.Namespace, equivalent: set[str]) -> Module:
    path = path_of(name)
    is_lua = path.suffix == ".lua"
    mutants: list[Mutant | LuaMutant] = [*(lua_mutants_of if is_lua else mutants_of)(path.read_text())]
    for gone in equivalent - {mutant.name for mutant in mutants}:
        _say(f"{name}: {EQUIVALENT.name} knows a change that the module does not have: {gone}")
    wanted = [mutant for mutant in mutants if told.declared or is_lua or mutant.function is not None]
    if told.lines is not None:
        first, last = map(int, told.lines.split("-"))
        wanted = [mutant for mutant in wanted if first <= mutant.line <= last]
    score = Score(len(wanted))
    random.Random(told.seed).shuffle(wanted)
    sample = wanted[: told.sample or None]
    mutants = [mutant for mutant in sample if mutant.name not in equivalent]
    score.equivalent = len(sample) - len(mutants)
    return Module(name, str(path), mutants, score)


def _run(target: Target, modules: list[Module], seconds: float, results: Path | None) -> None:
    begun = time.monotonic()
    tests = record(target.tests, [module.path for module in modules if module.path.endswith(".py")])
    for test in tests:
        if not test.passed:
            _say(f"not used, because it fails without a change: {test.node}")
    _say(f"{len(tests)} tests have run without a change, in {time.monotonic() - begun:.0f} s")
    usable = sorted((test for test in tests if test.passed), key=lambda test: test.seconds)
    for module in modules:
        over_at = time.monotonic() + seconds
        for mutant in module.mutants:
            if isinstance(mutant, LuaMutant):
                if time.monotonic() < over_at:
                    _try(module, mutant, usable, partial(_change_script, module, mutant))
            elif mutant.function is None:
                _try(module, mutant, usable, partial(_change_import, module, mutant))
    in_fork(partial(_try_functions, target, modules, usable, seconds, results), None)


def _try_functions(
    target: Target, modules: list[Module], tests: list[Test], seconds: float, results: Path | None
) -> None:
    """Try the changes in functions. The tests are imported once, and each fork changes the function that it has."""
    collect(target.tests)
    functions: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType):
            code = thing.__code__
            functions.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    gc.freeze()
    for module in modules:
        over_at = time.monotonic() + seconds
        for mutant in module.mutants:
            if isinstance(mutant, Mutant) and mutant.function is not None and time.monotonic() < over_at:
                changed = functions[module.path, *mutant.function]
                _try(module, mutant, tests, partial(_change_code, module, mutant, changed))
        _tell(module, results)


def _change_import(module: Module, mutant: Mutant) -> None:
    sys.meta_path.insert(0, ChangedImport(module.name, module.path, module.code(mutant)))


def _change_script(module: Module, mutant: LuaMutant) -> None:
    """Change what is sent to the server: on a server of this run alone, for a changed script may never end."""
    os.environ.pop("TEST_REDIS_URL", None)
    scripts = vars(importlib.import_module("permits.redis.scripts"))
    read = scripts["_read"]
    scripts["_read"] = lambda name: mutant.text if name == Path(module.path).stem else read(name)


def _change_code(module: Module, mutant: Mutant, functions: list[FunctionType]) -> None:
    todo = [module.code(mutant)]
    while todo:
        code = todo.pop()
        if (code.co_qualname, code.co_firstlineno) == mutant.function:
            for function in functions:
                function.__code__ = code
            return
        todo += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    raise LookupError(mutant.function)


def _try(module: Module, mutant: Mutant | LuaMutant, tests: list[Test], change: Callable[[], None]) -> None:
    """Run the tests that execute the changed line, the fastest first. A failure of a slow test counts if it repeats."""
    score = module.score
    score.tried += 1
    where = f"{module.name}:{mutant.line}: {mutant.name}"
    chosen = [test for test in tests if mutant.function is None or test.executes(module.path, mutant.lines)]
    nodes = [test.node for test in chosen]
    slow = {test.node for test in chosen if test.seconds > STEADY_SECONDS}
    seconds = GRACE_SECONDS + sum(test.seconds for test in chosen)
    if not nodes:
        score.unreached.append(where)
        _say(f"  unreached  {where}")
        return
    try:
        while nodes and (failed := failing(nodes, change, seconds)) is not None:
            if failed not in slow or failing([failed], change, seconds) is not None:
                score.killed += 1
                _say(f"  killed     {where}  ({failed})")
                return
            _say(f"  failed once only: {failed}")
            nodes = nodes[nodes.index(failed) + 1 :]
    except TimeoutError:
        score.slow.append(where)
        _say(f"  slow       {where}")
        return
    score.survived.append(where)
    _say(f"  survived   {where}")


def _tell(module: Module, results: Path | None) -> None:
    score = module.score
    noticed = score.killed + len(score.slow)
    share = 100 * noticed // max(1, score.tried)
    _say(
        f"| {module.name} | {score.made} | {score.tried} | {score.killed} | {len(score.slow)} | {len(score.survived)}"
        f" | {len(score.unreached)} | {score.equivalent} | {share} % |"
    )
    if results is not None:
        known = json.loads(results.read_text()) if results.exists() else {}
        results.write_text(json.dumps({**known, module.name: asdict(score)}, indent=1) + "\n")


def _say(line: str) -> None:
    VOICE.write(f"{line}\n")
    VOICE.flush()


if __name__ == "__main__":
    sys.exit(main())
