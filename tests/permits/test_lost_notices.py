"""A waiter whose notice was lost hears of its permit with the next heartbeat, whatever became of the ones before."""

from collections.abc import Iterator

import pytest

from permits.redis.requests import AcquireRequest
from permits.redis.store import Terms
from tests.permits.model import World
from tests.permits.virtual import Clock, VirtualPod, VirtualStore

LEASE_MS = 1600
BEAT_MS = LEASE_MS // 8
TERMS = Terms(capacity=2, per_client=None, max_waiting=100, lease_seconds=LEASE_MS / 1000)


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    """Return a pool of two pods, in which the first holds both permits and the second has four waiters."""
    clock = Clock()
    store = VirtualStore(redis_url, clock)
    world = World(store, clock, per_client=100)
    world.pods = [VirtualPod(clock, store.name, TERMS) for _ in range(2)]
    for _ in range(2 * LEASE_MS // 150):
        world.pass_time(150)
    for _ in range(2):
        world.pods[0].acquire("a", 0)
    world.settle()
    for _ in range(4):
        world.pods[1].acquire("b", 60_000)
    world.settle()
    assert (len(world.pods[0].held()), len(world.image.line)) == (2, 4)
    yield world
    for pod in world.everybody():
        pod.crash()
    store.close()


def granted(world: World) -> list[bool]:
    return [ask.permit is not None for ask in world.pods[1].asks]


def release_unheard(world: World, permits: int) -> None:
    """Give permits back whose next holders do not hear of it."""
    world.pods[1].way.hold("notices")
    for permit in world.pods[0].held()[:permits]:
        permit.release()
    world.settle()
    world.pods[1].way.notices.clear()
    world.pods[1].way.open()


def beat(world: World) -> None:
    world.pass_time(BEAT_MS)


def test_the_next_heartbeat_finds_it(world: World) -> None:
    release_unheard(world, 2)
    assert granted(world) == [False] * 4
    beat(world)
    assert granted(world) == [True, True, False, False]


def test_an_answer_that_was_lost_as_well_is_asked_for_again(world: World) -> None:
    release_unheard(world, 1)
    way = world.pods[1].way
    way.hold("replies")
    beat(world)  # the store says how many wait …
    (heartbeat,) = way.flights
    way.flights.remove(heartbeat)
    heartbeat.answer.set_result(heartbeat.replies or [])
    world.settle()  # … and is asked about the first of them, but its answer is lost
    way.cut()
    way.up = False
    world.settle()
    way.open()
    way.up = True
    for _ in range(2):  # after a failure the pod tries again within half a beat
        beat(world)
    assert granted(world) == [True, False, False, False]


def test_a_waiter_that_gives_up_meanwhile_hides_none(world: World) -> None:
    release_unheard(world, 1)
    pod = world.pods[1]
    pod.way.hold("replies")
    beat(world)
    last: AcquireRequest = pod.asks[-1]
    pod.cancel(last)  # the store still counted it
    world.settle()
    pod.way.open()
    world.settle()
    assert granted(world)[:3] == [True, False, False]


@pytest.mark.parametrize("breaks", [False, True], ids=["connected", "the connection breaks"])
def test_a_grant_that_lies_unread_as_the_time_of_its_waiter_ends_is_kept(world: World, *, breaks: bool) -> None:
    pod = world.pods[1]
    for ask in pod.asks:
        pod.cancel(ask)
    world.settle()
    pod.acquire("c", 300)
    world.settle()
    pod.paused = True
    world.pods[0].held()[0].release()
    world.settle()
    if breaks:
        pod.way.cut()
    world.pass_time(400)
    pod.paused = False
    pod.settle()  # its timers ring before it reads anything
    world.settle()
    assert granted(world)[-1]
