"""A pod that has drifted asks the store what it has of it; a store that has forgotten since takes nothing away."""

from collections.abc import Iterator

import pytest

from permits.redis.store import Terms
from tests.permits.model import World
from tests.permits.virtual import Clock, VirtualPod, VirtualStore

LEASE_MS = 1600
BEAT_MS = LEASE_MS // 8
TERMS = Terms(capacity=3, per_client=None, max_waiting=5, lease_seconds=LEASE_MS / 1000)


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    """Return a pool of two pods, of which the first holds two permits."""
    clock = Clock()
    store = VirtualStore(redis_url, clock)
    world = World(store, clock, per_client=5)
    world.pods = [VirtualPod(clock, store.name, TERMS) for _ in range(2)]
    for _ in range(2 * LEASE_MS // 150):
        world.pass_time(150)
    for _ in range(2):
        world.pods[0].acquire("anna", 0)
    world.settle()
    assert len(world.held()) == 2
    yield world
    for pod in world.everybody():
        pod.crash()
    store.close()


def asked(world: World) -> list[str]:
    """Return what the first pod has under way."""
    return [script for flight in world.pods[0].way.flights for script in flight.scripts()]


@pytest.mark.parametrize("anew", [False, True], ids=["empty", "a new epoch has begun"])
@pytest.mark.parametrize("told", [0, 1], ids=["", "the permits are told"])
def test_a_store_that_has_forgotten_since_takes_nothing_away(world: World, anew: bool, told: int) -> None:
    pod = world.pods[0]
    pod.acquire("ben", 0)
    world.settle()
    asking = world.executed[-1]
    (permit,) = [permit for permit in pod.held() if permit.client_id == "ben"]
    permit.release()
    world.settle()
    world.repeat(asking)  # now the store has a permit that the pod does not know of
    pod.way.hold("requests")
    world.pass_time(BEAT_MS)
    (heartbeat,) = pod.way.flights
    world.arrive(heartbeat)
    world.settle()
    for _ in range(told):
        world.arrive(pod.way.flights[0])
        world.settle()
    assert asked(world) == ["holdings"]
    world.forget()
    if anew:
        world.pass_time(BEAT_MS)
        assert world.image.epoch()
    pod.way.open()
    world.settle()
    world.pass_time(BEAT_MS)
    assert len(world.held()) == 2
    assert len(world.image.permits) == 2
