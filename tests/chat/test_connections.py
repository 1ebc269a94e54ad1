"""The registry of a pod's connections: how many there are, and how they end in a drain."""

import asyncio
from typing import cast

import pytest

from chat_service.connection import Connection
from chat_service.connections import ConnectionRegistry

pytestmark = pytest.mark.looptime


class FakeConnection:
    """Writes down how it was ended, and when by the clock of the event loop."""

    def __init__(self, registry: ConnectionRegistry, *, ends: bool = True) -> None:
        self._registry = registry
        self._ends = ends
        self.drained_at: float | None = None
        self.was_aborted = False

    def drain(self) -> None:
        self.drained_at = asyncio.get_running_loop().time()
        if self._ends:
            self._registry.discard(cast("Connection", self))

    def abort(self) -> None:
        self.was_aborted = True
        self._registry.discard(cast("Connection", self))


def opened(registry: ConnectionRegistry, count: int, *, ends: bool = True) -> list[FakeConnection]:
    connections = [FakeConnection(registry, ends=ends) for _ in range(count)]
    for connection in connections:
        registry.add(cast("Connection", connection))
    return connections


async def test_a_pod_is_full_at_its_own_limit_and_never_without_one() -> None:
    limited, unlimited = ConnectionRegistry(max_open=2), ConnectionRegistry()
    assert not limited.is_full
    first, _ = opened(limited, 2)
    opened(unlimited, 100)
    assert (limited.is_full, unlimited.is_full, len(limited), len(unlimited)) == (True, False, 2, 100)
    limited.discard(cast("Connection", first))
    assert not limited.is_full


async def test_a_drain_spreads_its_closes_and_returns_when_all_have_ended() -> None:
    registry = ConnectionRegistry()
    connections = opened(registry, 4)
    began = asyncio.get_running_loop().time()
    await registry.drain(spread_seconds=0.2)
    assert registry.is_draining
    assert len(registry) == 0
    moments = sorted(connection.drained_at - began for connection in connections if connection.drained_at is not None)
    assert moments == pytest.approx([0, 0.05, 0.1, 0.15])


async def test_a_drain_of_few_connections_does_not_take_its_whole_time() -> None:
    registry = ConnectionRegistry()
    opened(registry, 2)
    began = asyncio.get_running_loop().time()
    await registry.drain(spread_seconds=60)
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.2)


async def test_handshakes_in_the_queue_are_told_of_the_drain_unless_they_have_left() -> None:
    registry, told = ConnectionRegistry(), list[str]()

    def left() -> None:
        told.append("left")

    registry.on_drain(lambda: told.append("waits"))
    registry.on_drain(left)
    registry.off_drain(left)
    await registry.drain(spread_seconds=1)
    assert told == ["waits"]


async def test_connections_that_do_not_end_are_waited_for_until_they_are_aborted() -> None:
    registry = ConnectionRegistry()
    connections = opened(registry, 2, ends=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await registry.drain(spread_seconds=1)
    registry.abort()
    assert all(connection.was_aborted for connection in connections)
    await registry.wait_until_empty()
