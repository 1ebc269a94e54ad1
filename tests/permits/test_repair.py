"""What somebody's hand does to a pool in the store: noticed in time, and mended from what the pods know."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import PermitError, PoolLearning, PoolUnavailable
from permits.redis import PoolKnown, PoolOperator, RedisPool
from permits.redis.keys import keys_of
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold, queue_up, until
from tests.permits.test_store_layout import assert_invariants

LEASE_SECONDS = 4.0
Hand = Callable[[Any, str], Awaitable[object]]


async def _first(store: Any, key: str) -> str:
    return str(next(iter(await store.hgetall(key))))


async def _lose_a_permit(store: Any, prefix: str) -> None:
    await store.hdel(f"{prefix}permits", await _first(store, f"{prefix}permits"))


async def _garble_a_permit(store: Any, prefix: str) -> None:
    await store.hset(f"{prefix}permits", await _first(store, f"{prefix}permits"), "garbage")


async def _garble_a_waiter(store: Any, prefix: str) -> None:
    await store.hset(f"{prefix}waiters", await _first(store, f"{prefix}waiters"), "x" * 80)


async def _garble_a_pod(store: Any, prefix: str) -> None:
    await store.hset(f"{prefix}pods", await _first(store, f"{prefix}pods"), "garbage")


async def _lose_a_place_in_line(store: Any, prefix: str) -> None:
    await store.zpopmin(f"{prefix}line")


async def _lengthen_a_lease(store: Any, prefix: str) -> None:
    pod = await _first(store, f"{prefix}pods")
    await store.zadd(f"{prefix}leases", {pod: 10**15})


async def _shorten_a_lease(store: Any, prefix: str) -> None:
    pod = await _first(store, f"{prefix}pods")
    await store.zadd(f"{prefix}leases", {pod: 0})


async def _move_a_count_of_leases(store: Any, prefix: str) -> None:
    """The number of pods is right, and one seems to have a lease that ends in an instant."""
    await store.hset(f"{prefix}lease_lengths", mapping={str(int(LEASE_SECONDS * 1000)): 1, "1": 1})


def _exchange(key: str, word: int, field_of: str) -> Hand:
    """Put into a record what belongs into another."""

    async def exchange(store: Any, prefix: str) -> None:
        changed = await _first(store, prefix + key)
        words = (await store.hget(prefix + key, changed)).split(" ")
        words[word] = next(other for other in await store.hgetall(prefix + field_of) if other != words[word])
        await store.hset(prefix + key, changed, " ".join(words))

    return exchange


def _leases(length: str, number: str) -> Hand:
    return lambda store, prefix: store.hset(f"{prefix}lease_lengths", length, number)


def _both(*hands: Hand) -> Hand:
    async def change(store: Any, prefix: str) -> None:
        for hand in hands:
            await hand(store, prefix)

    return change


async def _replace(store: Any, prefix: str, key: str, value: str) -> None:
    await store.delete(prefix + key)
    await store.set(prefix + key, value)


def _field(name: str, value: str) -> Hand:
    return lambda store, prefix: store.hset(f"{prefix}pool", name, value)


def _count(key: str) -> Hand:
    async def add(store: Any, prefix: str) -> None:
        await store.hset(prefix + key, await _first(store, prefix + key), 77)

    return add


async def _stop_the_audits(store: Any, prefix: str) -> None:
    await store.hset(f"{prefix}pool", "audited", 10**15)
    await _count("clients")(store, prefix)


def _gone(key: str) -> Hand:
    return lambda store, prefix: store.delete(prefix + key)


def _other_type(key: str) -> Hand:
    return lambda store, prefix: _replace(store, prefix, key, "a word")


HANDS: dict[str, Hand] = {
    "a permit is deleted": _lose_a_permit,
    "a permit is added": lambda store, prefix: store.hset(f"{prefix}permits", "x", "0" * 32 + " pod/x.1 anna"),
    "a permit is garbled": _garble_a_permit,
    "a waiter is garbled": _garble_a_waiter,
    "a pod is garbled": _garble_a_pod,
    "a place in line is deleted": _lose_a_place_in_line,
    "a lease is lengthened": _lengthen_a_lease,
    "a lease is shortened": _shorten_a_lease,
    "a permit has another pod": _exchange("permits", 1, "pods"),
    "a permit has another client": _exchange("permits", 2, "clients"),
    "a waiter has another pod": _exchange("waiters", 1, "pods"),
    "a waiter has another client": _exchange("waiters", 5, "clients_waiting"),
    "a length of leases is added": _leases("1", "1"),
    "a length of leases is garbled": _leases(str(int(LEASE_SECONDS * 1000)), "many"),
    "a length of leases has one pod more": _leases(str(int(LEASE_SECONDS * 1000)), "3"),
    "a length of leases for no pod is longer than any": _leases("99999999999", "1"),
    "a count is added": lambda store, prefix: store.hset(f"{prefix}pods_held", "x", "many"),
    "the next audit is far away, and a client counts wrongly": _stop_the_audits,
    **{
        f"{name} = {value}": _field(name, value)
        for name, value in [("capacity", "1000"), ("capacity", "many"), ("step", "0"), ("clock", "99999999999999")]
    },
    **{
        f"{name} = {value}": _field(name, value)
        for name, value in [
            *[("tickets", value) for value in ("1", "1e300", str(2**53 - 2))],
            *[("epoch", value) for value in ("x", "9" * 20 + "-x")],
        ]
    },
    **{
        f"{name} = {value}": _field(name, value)
        for name, value in [
            *[("sweep", value) for value in ("x", "h", "hx", "hp", "hp -1", "aq 0", f"ap {10**19}", f"hw {10**30}")],
            *[
                ("sweep_again", "x"),
                ("audited", "x"),
                ("audited", str(10**15)),
                ("reaped", "x"),
                ("reaped", str(2**63 - 1)),
            ],
            *[("held", "x"), ("high_water", "x"), ("reserved", "x"), ("reserved", str(10**15)), ("damaged", "x")],
            *[("seen", "x"), ("jumps", "x"), ("learning_until", str(10**15)), ("learning_since", "x"), ("run", "x")],
            *[("capacity_version", "x"), ("capacity_seed", "x"), ("layout", "x")],
        ]
    },
    "a length of leases, and the pool is not sealed": _both(_leases("99999999", "0"), _field("step", "0")),
    "no lengths of leases, and no pool": _both(_other_type("lease_lengths"), _gone("pool")),
    "a count of leases is moved": _move_a_count_of_leases,
    **{f"{key} is gone": _gone(key) for key in ["pool", "pods", "permits", "line", "waiters"]},
    **{f"{key} is a string": _other_type(key) for key in ["pool", "permits", "refused"]},
    **{f"{key} counts wrongly": _count(key) for key in ["clients", "pods_waiting"]},
}


AT_ONCE = 16


@pytest.mark.parametrize("start", range(0, len(HANDS), AT_ONCE))
async def test_what_somebodys_hand_has_changed_is_mended(
    open_pod: OpenPod, store: "Redis", name: str, start: int
) -> None:
    """Each hand at a pool of its own, several at the same time: the test waits for leases."""
    hands = list(HANDS)[start : start + AT_ONCE]
    ends = await asyncio.gather(
        *(_mended(open_pod, store, f"{name}-{number}", hand) for number, hand in enumerate(hands)),
        return_exceptions=True,
    )
    assert {hand: end for hand, end in zip(hands, ends, strict=True) if end is not None} == {}


async def _mended(open_pod: OpenPod, store: "Redis", name: str, hand: str) -> None:
    pods = [await open_pod(pool=name, capacity=3, lease_seconds=LEASE_SECONDS, max_waiting=9) for _ in range(2)]
    permits = [*await hold(pods[0], "anna", "ben"), *await hold(pods[1], "carl")]
    waiters = [*await queue_up(pods[0], "dora", wait_seconds=60), *await queue_up(pods[1], "emil", wait_seconds=60)]
    await HANDS[hand](store, f"permits:{{{name}}}:2:")
    await _sound_again(pods, store, name)
    valid = [permit for permit in permits if permit.valid()]
    assert len(valid) == 3 or hand in LOSE
    for permit in permits:
        permit.release()
    async with asyncio.timeout(SECONDS):
        ends = await asyncio.gather(*waiters, return_exceptions=True)
    served = [end for end in ends if not isinstance(end, BaseException)]
    assert len(served) == 2 or hand in LOSE
    for permit in served:
        permit.release()
    await until(pods[0], lambda state: (state.held, state.waiting, dict(state.clients)) == (0, 0, {}))
    assert (await pods[0].state()).capacity == 3
    assert len([await pods[1].acquire("anna", wait_seconds=SECONDS) for _ in range(3)]) == 3
    await assert_invariants(store, name)
    lengths: Any = await store.hgetall(f"permits:{{{name}}}:2:lease_lengths")
    assert lengths == {str(int(LEASE_SECONDS * 1000)): "2"}
    assert "x" not in (await store.hget(f"permits:{{{name}}}:2:pool", "sweep") or "")


LOSE = {"a lease is shortened"}
"""What costs a pod its lease, as if it had been silent: the store has no more than its word for what it had."""


async def _sound_again(pods: list[RedisPool], store: "Redis", name: str) -> None:
    """Wait for three leases: by then it is noticed, and learned."""
    deadline = asyncio.get_running_loop().time() + 3 * LEASE_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        for pod in pods:
            with suppress(PermitError):
                await pod.state()
        await asyncio.sleep(0.05)
    await until(pods[0], lambda state: state.learning_seconds == 0)


async def _field_is(store: Any, name: str, field: str, reached: Callable[[set[str | None]], bool]) -> None:
    """Wait until a field of the pool has some value."""
    async with asyncio.timeout(SECONDS):
        while not reached({await store.hget(f"permits:{{{name}}}:2:pool", field)}):  # noqa: ASYNC110 - a store can only be asked
            await asyncio.sleep(0.01)


async def test_a_number_of_an_epoch_that_is_too_large_is_not_counted_on(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    """From 2^53 on the next number would be the same, and a pod that knows it would be taken for one that is gone."""
    pool = await open_pod(capacity=1, lease_seconds=LEASE_SECONDS)
    (permit,) = await hold(pool, "anna")
    for field in ("epoch", "capacity"):  # the second begins another epoch
        known = {await store.hget(f"permits:{{{name}}}:2:pool", "epoch"), "9" * 20 + "-x"}
        await store.hset(f"permits:{{{name}}}:2:pool", field, "9" * 20 + "-x")
        await _field_is(store, name, "epoch", known.isdisjoint)
        await until(pool, lambda state: state.held == 1)
    assert permit.valid()


async def test_a_changed_number_is_not_sealed_by_a_pod_that_leaves(
    open_pod: OpenPod, store: "Redis", name: str, redis_url: str
) -> None:
    """The shortest lease goes with it, which is another number under the same sum."""
    pool = await open_pod(capacity=3, lease_seconds=16)
    async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, capacity=3, lease_seconds=8):
        await store.hset(f"permits:{{{name}}}:2:pool", "capacity", 9)
    await until(pool, lambda state: state.capacity == 3)


@pytest.mark.parametrize("change", [lambda operator: operator.set_capacity(2), PoolOperator.trust])
async def test_an_operator_seals_no_changed_number(
    open_pod: OpenPod, store: "Redis", name: str, change: Callable[[PoolOperator], Awaitable[None]]
) -> None:
    pool = await open_pod(capacity=3, lease_seconds=16)
    await store.hset(f"permits:{{{name}}}:2:pool", "capacity", 9)
    operator = PoolOperator(name, store)
    with pytest.raises(PoolUnavailable, match="changed by hand"):
        await change(operator)
    await until(pool, lambda state: state.capacity == 3)
    await change(operator)


@pytest.mark.parametrize("hand", ["clock", "lease"])
async def test_no_pod_is_removed_by_a_number_that_was_changed(
    open_pod: OpenPod, store: "Redis", name: str, hand: str
) -> None:
    """No heartbeat comes in between: the leases are long."""
    one = await open_pod(capacity=1, lease_seconds=60)
    two = await open_pod(capacity=1, lease_seconds=60)
    (permit,) = await hold(one, "anna")
    prefix = f"permits:{{{name}}}:2:"
    if hand == "clock":
        await store.hincrby(f"{prefix}pool", "clock", 100_000)
    else:
        held: Any = await store.hgetall(f"{prefix}pods_held")
        await store.zadd(f"{prefix}leases", dict.fromkeys(held, 0))
    with pytest.raises(PermitError):
        await hold(two, "ben")
    assert permit.valid()


async def test_a_pool_of_layout_1_that_is_damaged_keeps_nobody_out(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    pool = await open_pod(capacity=4, lease_seconds=LEASE_SECONDS)
    (permit,) = await hold(pool, "anna")
    seconds, _ = await store.time()
    await store.hset(f"permits:{{{name}}}:pool", "seen", seconds * 1000)
    await store.hset(f"permits:{{{name}}}:pods", "old", "1 3600000")
    await store.set(f"permits:{{{name}}}:permits", "a word")
    await _field_is(store, name, "reserved", {"2"}.issuperset)
    assert permit.valid()
    await pool.acquire("ben", wait_seconds=0)


async def test_a_pool_that_an_operator_made_grants_at_once_and_no_other_does(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    operator = PoolOperator(name, store)
    await operator.begin()
    with pytest.raises(PoolKnown):
        await operator.begin()
    pool = await open_pod(capacity=2, learns=True)
    (permit,) = await hold(pool, "anna")
    assert permit.valid()
    assert (await pool.state()).capacity == 2
    with pytest.raises(PoolKnown):
        await operator.begin()


async def test_a_pool_whose_pods_live_is_not_new_though_its_store_is_empty(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    old_release = await open_pod(capacity=1, lease_seconds=60)
    (permit,) = await hold(old_release, "anna")
    await store.delete(*keys_of(name))
    with pytest.raises(PoolKnown, match="connected"):
        await PoolOperator(name, store).begin()
    new_release = await open_pod(capacity=1, lease_seconds=60, learns=True)
    with pytest.raises(PoolLearning):
        await hold(new_release, "ben")
    assert permit.valid()


async def test_pods_of_another_pool_do_not_matter_to_a_new_one(open_pod: OpenPod, store: "Redis", name: str) -> None:
    await open_pod()
    for other, prefix in ((name, "elsewhere"), (f"{name}2", "permits"), (name[:-1], "permits")):
        await PoolOperator(other, store, prefix).begin()


async def test_a_pool_that_nobody_made_learns(open_pod: OpenPod) -> None:
    pool = await open_pod(learns=True)
    assert pool.condition() == PoolLearning.code
    with pytest.raises(PoolLearning):
        await hold(pool, "anna")
