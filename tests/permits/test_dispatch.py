"""A pod that is out of touch with its store tries again, in time for its next heartbeat."""

from collections.abc import Iterator

import pytest

from permits import PoolUnavailable
from permits.redis.store import Terms
from tests.permits.model import World
from tests.permits.virtual import Clock, VirtualPod, VirtualStore

LEASE_MS = 3200
BEAT_MS = LEASE_MS // 8
TERMS = Terms(capacity=2, per_client=None, max_waiting=5, lease_seconds=LEASE_MS / 1000)


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    """Return a pool of one pod."""
    clock = Clock()
    store = VirtualStore(redis_url, clock)
    world = World(store, clock, per_client=5)
    world.pods = [VirtualPod(clock, store.name, TERMS)]
    for _ in range(2 * LEASE_MS // 150):
        world.pass_time(150)
    yield world
    for pod in world.everybody():
        pod.crash()
    store.close()


def test_a_store_that_is_back_is_asked_again_within_half_a_heartbeat(world: World) -> None:
    pod = world.pods[0]
    pod.acquire("anna", 0)
    world.settle()
    for _ in range(10):
        pod.way.up = False
        pod.way.cut()
        for _ in range(5):
            world.pass_time(BEAT_MS // 2)
        pod.way.up = True
        world.pass_time(BEAT_MS // 2)
        pod.acquire("ben", 0)
        world.settle()
        (permit,) = [permit for permit in pod.held() if permit.client_id == "ben"]
        permit.release()
        world.settle()
    assert len(world.held()) == 1


def test_what_was_refused_is_not_asked_again(world: World) -> None:
    pod = world.pods[0]
    pod.way.hold("requests")
    pod.acquire("anna", 0)
    world.settle()
    pod.way.up = False
    pod.way.cut()
    world.settle()
    assert isinstance(pod.asks[-1].error, PoolUnavailable)
    pod.way.up = True
    world.pass_time(BEAT_MS // 2)
    assert [flight.scripts() for flight in pod.way.flights if not flight.orphaned] == [["renew"]]
