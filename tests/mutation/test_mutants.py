"""What the mutation tester changes, and that it sees which tests notice."""

import signal
import socket
import time
from pathlib import Path

import pytest

from devtools.ports import free_port
from devtools.servers import ROOT
from devtools.valkey import run_valkey
from tests.mutation.lua_mutants import lua_mutants_of
from tests.mutation.mutants import mutants_of
from tests.mutation.runs import failing, in_fork, record
from tests.mutation.targets import TARGETS, Target, path_of

SOURCE = """
def serve(held: int, capacity: int | None = None) -> bool:
    log.info("not changed", held + 1)
    if held:
        count(held + 1)
    held += seen
    return capacity is None or not held < capacity
"""
LEFT_OUT = """
@dataclass(frozen=True, slots=True)
class Line:
    kind: Literal[1]

    def take(self, kind: Literal[2] = THE_FIRST) -> Literal[3]:
        if TYPE_CHECKING:
            return self.kind
        self._log.info("taken", kind=4)
        assert_never(kind)
"""

LUA = """#!lua flags=allow-oom
-- not changed: 1 < 2
local MOST = 50
local function serve(id)
  if not held[id] and KEYS[1] == 'a and b' then
    call('HSET', id, 'held', 2) -- 3 or 4
  end
end
more = true
"""


def test_each_change_is_one_place() -> None:
    whats = [(mutant.line, mutant.what) for mutant in mutants_of(SOURCE)]
    assert whats == [
        (4, "if held:  →  if not held:"),
        (5, "count(held + 1)  →  pass"),
        (5, "held + 1  →  held - 1"),
        (5, "1  →  2"),
        (6, "held += seen  →  held -= seen"),
        (7, "capacity is None or not held < capacity  →  capacity is None and (not held < capacity)"),
        (7, "capacity is None  →  capacity is not None"),
        (7, "not held < capacity  →  held < capacity"),
        (7, "held < capacity  →  held <= capacity"),
    ]


def test_what_types_check_or_people_read_is_left_out() -> None:
    assert mutants_of(LEFT_OUT) == []


def test_a_changed_module_is_whole() -> None:
    for mutant in mutants_of(SOURCE):
        compile(mutant.changed(), "serve.py", "exec")
        assert mutant.function == ("serve", 2)
        assert mutant.line in mutant.lines


def test_each_change_to_lua_is_one_place() -> None:
    mutants = lua_mutants_of(LUA)
    assert [(mutant.line, mutant.name) for mutant in mutants] == [
        (3, "script: local MOST = 50  →  local MOST = 51"),
        (5, "serve: if not held[id] and KEYS[1] == 'a and b' then  →  if held[id] and KEYS[1] == 'a and b' then"),
        (5, "serve: if not held[id] and KEYS[1] == 'a and b' then  →  if not held[id] or KEYS[1] == 'a and b' then"),
        (5, "serve: if not held[id] and KEYS[1] == 'a and b' then  →  if not held[id] and KEYS[1] ~= 'a and b' then"),
        (6, "serve: call('HSET', id, 'held', 2)  →  call('HSET', id, 'held', 3)"),
        (6, "serve: call('HSET', id, 'held', 2)  →  -- pass"),
        (9, "script: more = true  →  more = false"),
        (9, "script: more = true  →  -- pass"),
    ]
    assert all(len(mutant.text.splitlines()) == len(LUA.splitlines()) for mutant in mutants)


def test_defaults_and_decorators_run_at_import() -> None:
    (default,) = mutants_of("class Line:\n    def take(self, most=1):\n        return most\n")
    (inner,) = mutants_of(
        "class Line:\n    @property\n    def taken(self):\n        def one():\n            return 1\n"
    )
    assert default.function is None
    assert inner.function == ("Line.taken", 2)
    assert inner.lines == range(5, 6)


def test_tests_are_recorded_and_one_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "test_seats.py"
    source = "def half(n):\n    return n // 2\n\n\ndef test_none(): pass\n\n\ndef test_half(): assert half(4) == 2\n"
    file.write_text(source)
    none, half = record([str(file)], [str(file)])
    assert (none.passed, half.passed) == (True, True)
    assert not none.executes(str(file), range(2, 3))
    assert half.executes(str(file), range(2, 3))
    nodes = [none.node, half.node]
    assert failing(nodes, lambda: None, 60) is None
    changed = source.replace("// 2", "// 3")
    assert failing(nodes, lambda: file.write_text(changed), 60) == half.node
    with pytest.raises(TimeoutError):
        failing(nodes, lambda: time.sleep(60), 0.1)


def test_a_run_that_hangs_leaves_no_server(tmp_path: Path) -> None:
    port = free_port()

    def run() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with run_valkey(tmp_path, port):
            (tmp_path / "up").touch()
            time.sleep(600)

    with pytest.raises(TimeoutError):
        in_fork(run, 5.0)
    assert (tmp_path / "up").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.modules[0])
def test_modules_and_tests_of_a_target_are_there(target: Target) -> None:
    for name in target.modules:
        assert path_of(name).exists(), name
    for argument in target.tests:
        assert not argument.startswith("tests/") or (ROOT / argument).exists(), argument
