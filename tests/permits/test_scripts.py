"""The scripts of a pool, one call at a time: what pods would meet seldom, or only while leases end."""

from collections.abc import AsyncIterator, Awaitable
from itertools import product
from typing import Any

import pytest
from redis.asyncio import Redis

from permits.redis.keys import keys_of, script_keys_of
from permits.redis.scripts import CallStatus, Code, load_scripts

LEASE_MS = 60_000
SERVER_AT = """
local function server_ms() return {ms} end
local function server_run() return 'run' end
"""
"""In place of `server.lua`: a server at some time."""


class Calls:
    """Calls the scripts of one pool as pods do, each with a connection that never breaks."""

    def __init__(self, store: Any, name: str) -> None:
        self.store = store
        self._all_keys = script_keys_of(name)
        self.keys = {key.rpartition(":")[2]: key for key in keys_of(name)}
        self.epoch = ""
        self._server: str | None = None

    def at(self, ms: int) -> None:
        """Let it be some time from now on."""
        self._server = SERVER_AT.format(ms=ms)

    async def enter(
        self, pod: str, before: str = "", *, knows: str = "", lease_ms: int = LEASE_MS, capacity: int = 1
    ) -> list[Any]:
        """Let a pod in, and return the reply."""
        words = (pod, 1, lease_ms, knows, 0, lease_ms, before, capacity, 1)
        reply = await self._run("enter", *words)
        self.epoch = reply[2]
        return reply

    async def renew(self, pod: str, *, lease_ms: int = LEASE_MS) -> list[Any]:
        """Send a heartbeat."""
        return await self._run("renew", pod, 1, lease_ms, self.epoch, 0)

    async def operate(self, pod: str, *words: str | int) -> list[Any]:
        """Send operations, and return the reply."""
        return await self._run("operate", pod, 1, LEASE_MS, self.epoch, 0, 0, 100, *words)

    async def acquire(self, pod: str, *ids: str) -> list[int]:
        """Acquire for a client of the same name each, and return the codes."""
        reply = await self.operate(pod, *(word for id_ in ids for word in ("acquire", id_, id_, LEASE_MS)))
        return list(reply[3::3])

    async def change(self, *words: str | int) -> list[Any]:
        """Change the pool by the will of its operator."""
        return await self._run("set", *words)

    async def end_leases(self, *pods: str) -> None:
        """Make the leases of some pods end in this moment."""
        clock = int(await self.store.hget(self.keys["pool"], "clock"))
        await self.store.zadd(self.keys["leases"], dict.fromkeys(pods, clock))

    async def held(self) -> set[str]:
        """Return the ids of the permits that are held."""
        return set(await self.store.hkeys(self.keys["permits"]))

    async def field(self, name: str) -> str | None:
        """Return a number of the pool."""
        found: str | None = await self.store.hget(self.keys["pool"], name)
        return found

    async def _run(self, script: str, *words: str | int) -> list[Any]:
        keys = self._all_keys if script in {"enter", "renew", "leave"} else (*self.keys.values(),)
        text = getattr(load_scripts(self._server), script).text
        running: Awaitable[Any] = self.store.eval(text, len(keys), *keys, *words)
        reply: list[Any] = await running
        return reply


@pytest.fixture
async def calls(store: "Redis", name: str) -> AsyncIterator[Calls]:
    """Return the scripts of a pool that nobody has used."""
    yield Calls(store, name)
    await store.delete(*keys_of(name))


@pytest.mark.parametrize("later", [0, 10**9], ids=["the same number", "a higher number"])
async def test_a_pod_that_knows_another_epoch_as_new_as_that_of_the_store_begins_one(calls: Calls, later: int) -> None:
    """The store has gone back, or the pod was at another one, which ran beside this one."""
    await calls.enter("one/1.1")
    number, _, run = calls.epoch.partition("-")
    *_, learning_ms, _ = await calls.enter("two/1.1", knows=f"{int(number) + later}-other")
    assert int(calls.epoch.partition("-")[0]) > int(number) + later
    assert calls.epoch.endswith(run)
    assert learning_ms == LEASE_MS


async def test_a_pod_that_knows_an_earlier_epoch_of_another_store_is_let_in(calls: Calls) -> None:
    await calls.enter("one/1.1")
    before = calls.epoch
    await calls.enter("two/1.1", knows="1-other")
    assert calls.epoch == before


async def test_a_pod_with_a_longer_lease_that_enters_while_limits_are_learned_has_the_time_to_declare(
    calls: Calls,
) -> None:
    await calls.enter("one/1.1", lease_ms=LEASE_MS // 10)
    *_, learning_ms, _ = await calls.enter("two/1.1")
    assert LEASE_MS * 9 // 10 < learning_ms <= LEASE_MS


async def test_after_a_silence_of_all_pods_one_with_a_longer_lease_has_the_time_to_declare(calls: Calls) -> None:
    calls.at(10**12)
    await calls.enter("one/1.1", lease_ms=LEASE_MS // 10)
    await calls.change("trust", "")
    calls.at(10**12 + LEASE_MS // 10)
    assert (await calls.renew("one/1.1", lease_ms=LEASE_MS // 10))[8] == LEASE_MS // 10
    before = calls.epoch
    *_, learning_ms, _ = await calls.enter("two/1.1")
    assert (calls.epoch, learning_ms) == (before, LEASE_MS)


async def test_what_an_earlier_incarnation_held_is_handed_on_by_the_call_that_lets_in_the_next(calls: Calls) -> None:
    await calls.enter("one/1.1")
    await calls.enter("two/1.1")
    await calls.change("trust", "")
    assert await calls.acquire("one/1.1", "a") == [Code.GRANTED]
    assert await calls.acquire("two/1.1", "b") == [Code.WAITING]
    *_, more = await calls.enter("one/1.2", "one/1.1")
    assert await calls.held() == {"b"}
    while more:
        more = (await calls.renew("two/1.1"))[5]
    assert await calls.field("sweep") is None


async def test_permits_of_pods_whose_lease_has_ended_are_counted(calls: Calls) -> None:
    for pod in ("one/1.1", "two/1.1"):
        await calls.enter(pod, capacity=3)
    await calls.change("trust", "")
    await calls.acquire("one/1.1", "a", "b")
    await calls.acquire("two/1.1", "c")
    await calls.end_leases("one/1.1")
    await calls.renew("two/1.1")
    assert await calls.field("reaped") == "2"
    assert await calls.held() == {"c"}


async def test_who_asks_now_or_never_gets_what_a_pod_held_whose_lease_has_ended(calls: Calls) -> None:
    for pod in ("one/1.1", "two/1.1"):
        await calls.enter(pod)
    await calls.change("trust", "")
    assert await calls.acquire("one/1.1", "a") == [Code.GRANTED]
    await calls.end_leases("one/1.1")
    reply = await calls.operate("two/1.1", "try", "b", "b", "try", "c", "c")
    assert reply[3::3] == [Code.GRANTED, Code.FULL]
    assert await calls.held() == {"b"}


async def test_many_pods_whose_lease_has_ended_are_removed_at_once_in_steps(calls: Calls) -> None:
    await calls.enter("lives/1.1")
    dead = [f"dead-{number}/1.1" for number in range(60)]
    for pod in dead:
        await calls.enter(pod)
    await calls.end_leases(*dead)
    assert (await calls.renew("lives/1.1"))[5] == 1
    assert 1 < await calls.store.hlen(calls.keys["pods"]) < 60
    assert (await calls.renew("lives/1.1"))[5] == 0
    assert await calls.store.hkeys(calls.keys["pods"]) == ["lives/1.1"]


async def test_a_pod_that_is_removed_while_records_are_swept_has_them_swept_once_more(calls: Calls) -> None:
    await calls.enter("one/1.1")
    await calls.store.hset(calls.keys["pool"], mapping={"sweep": "hw 0", "sweep_again": 1})
    more = [(await calls.renew("one/1.1"))[5] for _ in range(4)]
    assert more == [1, 1, 0, 0]
    assert (await calls.field("sweep"), await calls.field("sweep_again")) == (None, None)


async def test_a_request_that_finds_records_unswept_waits(calls: Calls) -> None:
    await calls.enter("one/1.1")
    await calls.change("trust", "")
    await calls.acquire("one/1.1", "a")
    await calls.store.hset(calls.keys["pool"], "sweep", "hp 0")
    assert await calls.acquire("one/1.1", "b", "c") == [Code.WAITING, Code.WAITING]


async def test_an_operator_who_ends_the_learning_serves_the_line_with_that_call(calls: Calls) -> None:
    await calls.enter("one/1.1")
    assert await calls.acquire("one/1.1", "a") == [Code.WAITING]
    await calls.change("trust", "")
    assert await calls.held() == {"a"}


async def test_a_waiter_that_leaves_while_limits_are_learned_is_told_so(calls: Calls) -> None:
    await calls.enter("one/1.1")
    await calls.acquire("one/1.1", "a", "b")
    reply = await calls.operate("one/1.1", "leave", "b", "leave", "a")
    codes, left_ms, places = reply[3::3], reply[4::3], reply[5::3]
    assert codes == [Code.LEARNING, Code.LEARNING]
    assert all(0 < left <= LEASE_MS for left in left_ms)
    assert places == [2, 1]


@pytest.mark.parametrize("hand", ["a waiter", "a count"])
async def test_a_call_that_meets_what_no_script_has_written_asks_for_a_heartbeat_at_once(
    calls: Calls, hand: str
) -> None:
    await calls.enter("one/1.1")
    await calls.change("trust", "")
    assert await calls.acquire("one/1.1", "a", "b") == [Code.GRANTED, Code.WAITING]
    if hand == "a waiter":
        await calls.store.hset(calls.keys["waiters"], "b", f"{1:032} one/1.1 no more")
    else:
        await calls.store.hset(calls.keys["clients"], "a", "many")
    status, _, more = await calls.operate("one/1.1", "release", "a")
    assert (status, more) == (CallStatus.DONE, 1)
    before = calls.epoch
    await calls.renew("one/1.1")
    assert await calls.field("epoch") != before


@pytest.mark.parametrize(
    ("key", "first"),
    [*product(["pool", "permits", "line"], ["enter", "renew", "operate"]), ("refused", "enter"), ("refused", "renew")],
)
async def test_an_empty_pool_of_which_a_key_was_overwritten_with_a_word_begins_anew(
    calls: Calls, key: str, first: str
) -> None:
    """No count tells that somebody's hand was here: nobody holds or waits."""
    await calls.enter("one/1.1", capacity=2)
    before = calls.epoch
    await calls.store.set(calls.keys[key], "a word")
    if first == "enter":
        assert (await calls.enter("one/1.2", "one/1.1", knows=before))[0] == CallStatus.DONE
    elif first == "renew":
        assert await calls.renew("one/1.1") == [CallStatus.FORGOTTEN]
    else:
        assert await calls.operate("one/1.1", "try", "a", "anna") == [CallStatus.FORGOTTEN]
    assert await calls.field("epoch") not in {before, None}


@pytest.mark.parametrize("hand", ["gone", "garbled"])
async def test_a_waiter_without_a_record_counts_no_more_in_the_call_that_meets_it(calls: Calls, hand: str) -> None:
    await calls.enter("one/1.1")
    await calls.change("trust", "")
    await calls.acquire("one/1.1", "a", "b", "c")
    if hand == "gone":
        await calls.store.hdel(calls.keys["waiters"], "b")
    else:
        await calls.store.hset(calls.keys["waiters"], "b", f"{1:032} one/1.1 no more")
    reply = await calls.operate("one/1.1", "release", "a", "acquire", "d", "d", LEASE_MS)
    assert (reply[3], reply[5]) == (Code.WAITING, 1)
    assert await calls.held() == {"c"}


async def test_a_record_among_many_that_no_script_has_written_is_found_by_looking_at_all(calls: Calls) -> None:
    many = 300
    await calls.enter("one/1.1", capacity=many)
    await calls.change("trust", "")
    await calls.acquire("one/1.1", *(f"id-{number}" for number in range(many)))
    before = calls.epoch
    await calls.store.hset(calls.keys["permits"], "id-7", "no more")
    for _ in range(4):
        await calls.renew("one/1.1", lease_ms=1)  # a look at all is begun once a lease
    assert await calls.field("epoch") != before


async def test_heartbeats_move_pool_time_on_as_the_clock_goes_and_by_one_step_at_most(calls: Calls) -> None:
    begun, step = 10**12, LEASE_MS * 3 // 16
    calls.at(begun)
    await calls.enter("one/1.1")
    for now, clock, jumps in ((1000, 1000, None), (500, 1000, "1"), (500 + 2 * step, 1000 + step, "2")):
        calls.at(begun + now)
        await calls.renew("one/1.1")
        assert (await calls.field("clock"), await calls.field("jumps")) == (str(begun + clock), jumps)
