"""What an operator sees of a pool, to the millisecond: the time of this pool stands still."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import PoolState
from permits.arguments import MOST_PERMITS
from permits.redis import PoolOperator, PoolUnknown, find_pools
from permits.redis.keys import keys_of
from permits.redis.operator import PodView, WaiterView
from permits.redis.scripts import load_scripts

NOW = 5_000_000
NOT_YET = 10**15
"""When the store was last heard of, by its own clock: so its clock tells that no time has passed."""


@pytest.fixture
async def pool(store: "Redis", name: str) -> AsyncIterator[str]:
    """Return the name of a pool of two pods, which hold three permits; two clients wait."""
    key = {one.rpartition(":")[2]: one for one in keys_of(name)}
    await PoolOperator(name, store).begin()
    figures: dict[Any, Any] = {
        "capacity": 3,
        "held": 3,
        "high_water": 4,
        "reaped": 2,
        "capacity_version": 6,
        "jumps": 1,
    }
    times: dict[Any, Any] = {"epoch": "1700000000000-abc", "clock": NOW, "seen": NOT_YET, "learning_until": NOW + 800}
    async with store.pipeline(transaction=True) as together:
        together.hset(key["pool"], mapping={**figures, **times})
        together.hset(key["pods"], mapping={"one/a.1": "1 60000 3 0", "two/b.17": "4 15000 4 0"})
        together.zadd(key["leases"], {"one/a.1": NOW + 12_500, "two/b.17": NOW - 250})
        for number, holds in enumerate(("one/a.1 anna", "one/a.1 anna", "two/b.17 ben"), 5):
            together.hset(key["permits"], f"id-{number}", f"{number:032} {holds}")
        together.hset(key["pods_held"], mapping={"one/a.1": 2, "two/b.17": 1})
        together.hset(key["pods_waiting"], mapping={"two/b.17": 2})
        together.hset(key["clients"], mapping={"anna": 2, "ben": 1})
        for number, waits in enumerate((f"{NOW - 1250} {NOW + 2500} 0 carl", f"{NOW - 250} {NOW + 750} 0 d e"), 8):
            together.hset(key["waiters"], f"id-{number}", f"{number:032} two/b.17 {waits}")
            together.zadd(key["line"], {f"id-{number}": number})
        together.sadd(key["refused"], "one/a", "gone/c")
        await together.execute()
    yield name
    await store.delete(*keys_of(name))


@pytest.mark.parametrize("decodes", [False, True])
async def test_all_of_a_pool_is_shown(pool: str, redis_url: str, decodes: bool) -> None:
    async with Redis.from_url(redis_url, decode_responses=decodes) as redis:
        view = await PoolOperator(pool, redis).show()
    assert view.state == PoolState(3, 3, 4, 2, {"anna": 2, "ben": 1}, 0.8, 2)
    assert view.pods == [PodView("one/a", 1, 12.5, 2, 0, True, 3), PodView("two/b", 17, -0.25, 1, 2, False, 4)]
    assert view.line == (WaiterView(8, "carl", "two/b", 1.25, 2.5), WaiterView(9, "d e", "two/b", 0.25, 0.75))
    assert view.refused == {"one/a", "gone/c"}
    assert (view.epoch, view.capacity_version, view.jumps) == (1_700_000_000_000, 6, 1)


async def test_a_pool_of_many_pods_and_clients_is_shown_in_parts_that_are_small(pool: str, store: "Redis") -> None:
    key = {one.rpartition(":")[2]: one for one in keys_of(pool)}
    pods, clients = {f"p/{number:04}.1" for number in range(1500)}, {f"client-{number}" for number in range(3000)}
    await store.hset(key["pods"], mapping=dict.fromkeys(pods, "1 15000 3 0"))
    await store.zadd(key["leases"], dict.fromkeys(pods, NOW + 9000))
    await store.hset(key["clients"], mapping=dict.fromkeys(clients, 1))
    view = await PoolOperator(pool, store).show()
    assert [f"{pod.name}.{pod.incarnation}" for pod in view.pods] == sorted({*pods, "one/a.1", "two/b.17"})
    assert {pod.lease_left_seconds for pod in view.pods} == {9, 12.5, -0.25}
    assert view.state.clients == {**dict.fromkeys(clients, 1), "anna": 2, "ben": 1}
    scripts, keys = load_scripts(), keys_of(pool)
    for script, argv in ((scripts.show, (100, 1000, "0", 250)), (scripts.state, ("0", 1000))):
        reply: Any = await store.eval(script.text, len(keys), *keys, *argv)
        assert all(len(part) < 3000 for part in reply if isinstance(part, list))


async def test_a_pool_is_found_among_other_keys(pool: str, store: "Redis") -> None:
    other = keys_of(pool)[0].replace("{", "{not a ")
    await store.set(other, "")
    found = await find_pools(store)
    await store.delete(other)
    assert pool in found
    assert found == sorted(name for name in found if " " not in name)


async def test_a_pool_that_nobody_has_used_cannot_be_shown_or_changed(store: "Redis", name: str) -> None:
    operator = PoolOperator(name, store)
    for asked in (operator.show(), operator.set_capacity(1), operator.refuse("one/a"), operator.trust()):
        with pytest.raises(PoolUnknown, match=name):
            await asked


@pytest.mark.parametrize("capacity", [None, True, 0, -1, 1.5, "3", MOST_PERMITS + 1, math.inf, math.nan], ids=repr)
async def test_a_capacity_that_is_no_number_of_permits_is_refused(pool: str, store: "Redis", capacity: Any) -> None:
    operator = PoolOperator(pool, store)
    with pytest.raises(ValueError, match="capacity must be a whole number"):
        await operator.set_capacity(capacity)
    assert (await operator.show()).state.capacity == 3


@pytest.mark.parametrize("pod", [None, 5, b"x", "", "a b", "\ud800", "x" * 300], ids=ascii)
async def test_what_names_no_pod_is_refused(pool: str, store: "Redis", pod: Any) -> None:
    operator = PoolOperator(pool, store)
    before = (await operator.show()).refused
    for call in (operator.refuse, operator.allow):
        with pytest.raises((TypeError, ValueError), match="pod"):
            await call(pod)
    assert (await operator.show()).refused == before


@pytest.mark.parametrize("prefix", [None, 5, "", "*", "a{b}"], ids=repr)
async def test_what_is_no_prefix_finds_no_pools(store: "Redis", prefix: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="prefix"):
        await find_pools(store, prefix)
