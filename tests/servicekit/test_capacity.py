"""Room for newcomers: what is idle goes first, and a newcomer that finds none is told so."""

import resource
import subprocess
import sys

import pytest

from servicekit.capacity import Capacity


class Connection:
    def __init__(self, port: set[object]) -> None:
        self.closed = False
        port.add(self)

    def make_room(self) -> None:
        self.closed = True


def test_the_limit_leaves_descriptors_for_everything_else() -> None:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 0 < Capacity().limit < descriptors
    assert Capacity(10 * descriptors).limit == Capacity().limit
    assert Capacity(3).limit == 3


def test_the_connection_that_is_idle_for_longest_makes_room() -> None:
    port: set[object] = set()
    capacity = Capacity(3)
    capacity.add_port(port)
    first, second, third = [Connection(port) for _ in range(3)]
    for one in (first, second, third):
        assert capacity.admit(one)
    capacity.busy(first)
    newcomer = Connection(port)
    assert capacity.admit(newcomer)
    assert [one.closed for one in (first, second, third, newcomer)] == [False, True, False, False]
    assert capacity.used == 3


def test_without_an_idle_one_the_newcomer_is_turned_away() -> None:
    port, other_port = set[object](), set[object]()
    capacity = Capacity(2)
    capacity.add_port(port)
    capacity.add_port(other_port)
    for one in (Connection(port), Connection(other_port)):
        assert capacity.admit(one)
        capacity.busy(one)
    newcomer = Connection(port)
    assert not capacity.admit(newcomer)
    assert not newcomer.closed
    assert capacity.used == 2
    port.discard(newcomer)
    capacity.gone(newcomer)
    assert capacity.used == 2


def test_few_are_being_told_at_once() -> None:
    port: set[object] = set()
    capacity = Capacity(1)
    capacity.add_port(port)
    held = Connection(port)
    assert capacity.admit(held)
    capacity.busy(held)
    newcomers = [Connection(port) for _ in range(500)]
    for one in newcomers:
        assert not capacity.admit(one)
    told = [one for one in newcomers if not one.closed]
    assert 1 <= len(told) < 200
    assert told == newcomers[-len(told) :]


@pytest.mark.parametrize("where", ["busy", "idle", "told"])
def test_what_is_gone_takes_no_room(where: str) -> None:
    port: set[object] = set()
    capacity = Capacity(1)
    capacity.add_port(port)
    for _ in range(10):
        come = [Connection(port)]
        assert capacity.admit(come[0])
        if where != "idle":
            capacity.busy(come[0])
        if where == "told":
            come.append(Connection(port))
            assert not capacity.admit(come[1])
        for one in come:
            port.discard(one)
            capacity.gone(one)
        assert capacity.used == 0


@pytest.mark.parametrize("hard", [256, 1024])
def test_a_program_takes_as_many_descriptors_as_it_may_have(hard: int) -> None:
    program = f"""
import resource
from servicekit.runner import run

async def main():
    print(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
    return 0

resource.setrlimit(resource.RLIMIT_NOFILE, (128, {hard}))
run(main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == f"({hard}, {hard})\n"
