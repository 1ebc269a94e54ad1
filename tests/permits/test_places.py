"""Calls under way, as the store forgets everything and the connection breaks: nobody is left without an answer."""

import pytest

from permits.redis import throughput
from permits.redis.store import Terms
from tests.permits.model import World
from tests.permits.virtual import Clock, VirtualPod, VirtualStore

LEASE_MS = 1600
TERMS = Terms(capacity=2, per_client=3, max_waiting=5, lease_seconds=LEASE_MS / 1000)


@pytest.mark.parametrize("fault", ["cut", "requests", "replies"])
@pytest.mark.parametrize("rounds", range(1, 7))
def test_who_asks_now_or_never_is_answered_whatever_happens_to_store_and_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, rounds: int, fault: str
) -> None:
    monkeypatch.setattr(throughput, "MANY_ANSWERS", 2)
    monkeypatch.setattr(throughput, "FEW_RELEASES", 1)
    for more in range(4):
        clock = Clock()
        store = VirtualStore(redis_url, clock)
        world = World(store, clock, per_client=3)
        pod = VirtualPod(clock, store.name, TERMS)
        world.pods.append(pod)
        try:
            _pass(world, 2 * LEASE_MS)
            for client in "abcd":
                pod.come_and_go(client, times=8)
            world.settle(rounds)
            world.forget()
            world.settle(more)
            if fault == "cut":
                pod.way.cut()
                pod.way.up = False
            pod.way.hold(fault)
            world.settle()
            _pass(world, LEASE_MS)
            pod.way.open()
            _pass(world, 3 * LEASE_MS)
            assert [ask.id for ask in pod.asking()] == []
        finally:
            pod.crash()
            store.close()


def _pass(world: World, milliseconds: int) -> None:
    for _ in range(milliseconds // 150 + 1):
        world.pass_time(150)
