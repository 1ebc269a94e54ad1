"""What stands in the store: its keys, its scripts, and what holds after each of them."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from devtools.servers import ROOT
from devtools.valkey import run_valkey
from permits import PermitError, PoolUnavailable
from permits.redis import PoolOperator, RedisPool
from permits.redis.keys import channel_of, keys_of
from permits.redis.scripts import inline_constants, load_scripts
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold, queue_up, until

SCRIPTS = ("declare", "enter", "holdings", "leave", "operate", "peek", "renew", "set", "show", "state")
LUA_FILES = {f"{name}.lua" for name in (*SCRIPTS, "epochs", "pods", "pool", "records", "requests", "server", "sweep")}


@pytest.mark.parametrize("pool_name", ["connections", "a", "A.b-c_9" * 9])
def test_all_keys_of_a_pool_share_one_slot_of_a_cluster(pool_name: str) -> None:
    names = (*keys_of(pool_name), channel_of(pool_name, "pod/1"))
    assert {key_slot(name.encode()) for name in names} == {key_slot(pool_name.encode())}
    assert len(set(names)) == len(names) == 15


@pytest.mark.parametrize("pool_name", ["", "a b", "a{b", "a}b", "x" * 65, "ä", "a\n"], ids=repr)
def test_a_name_that_would_not_make_one_hash_tag_is_refused(pool_name: str) -> None:
    with pytest.raises(ValueError, match="a pool's name is"):
        RedisPool(pool_name, redis=Redis(), capacity=1)


@pytest.mark.parametrize("terms", [{"capacity": 0}, {"lease_seconds": 0}, {"answer_seconds": -1}, {"pod": "a b"}])
def test_terms_that_make_no_sense_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|one word"):
        RedisPool("pool", redis=Redis(), **{"capacity": 1, **terms})


def test_the_scripts_come_with_the_package() -> None:
    assert {file.name for file in (resources.files("permits") / "lua").iterdir()} == LUA_FILES
    scripts = load_scripts().all()
    assert len({script.sha for script in scripts}) == len(scripts) == len(SCRIPTS)
    assert all(script.text.startswith("#!lua flags=") for script in scripts)


def test_constants_of_the_scripts_cost_no_local() -> None:
    constants = "local ONE, TWO = 1, 'two' -- why\nlocal FIRST = KEYS[1]\n"
    lua = constants + "local T = {}\nreturn FIRST, ONE, TWO, 'TWO', TWO_T, T\n"
    assert inline_constants(lua) == "local T = {}\nreturn KEYS[1], 1, 'two', 'TWO', TWO_T, T\n"


def test_the_scripts_come_with_the_wheel(tmp_path: Path) -> None:
    package = ROOT / "libs" / "permits"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=package, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as files:
        assert {Path(name).name for name in files.namelist() if name.startswith("permits/lua/")} == LUA_FILES
        assert "permits/py.typed" in files.namelist()


async def test_who_holds_how_many_can_be_read_with_one_command(open_pod: OpenPod, store: "Redis", name: str) -> None:
    pool = await open_pod(capacity=3)
    await hold(pool, "anna", "ben", "anna")
    await queue_up(pool, "ben", "clara")
    prefix = f"permits:{{{name}}}:2"
    assert await store.hgetall(f"{prefix}:clients") == {"anna": "2", "ben": "1"}
    assert await store.hgetall(f"{prefix}:clients_waiting") == {"ben": "1", "clara": "1"}


@pytest.mark.parametrize("client_id", ["", "with space", "line\nbreak", "ünï", "%s", "1 2 3"], ids=repr)
async def test_any_text_may_name_a_client(open_pod: OpenPod, store: "Redis", name: str, client_id: str) -> None:
    pool = await open_pod(capacity=1)
    (permit,) = await hold(pool, client_id)
    (waiter,) = await queue_up(pool, client_id)
    assert (await pool.state()).clients == {client_id: 1}
    permit.release()
    (await waiter).release()
    await assert_invariants(store, name)
    assert (await pool.state()).clients == {}


async def test_the_rights_that_the_documentation_names_are_enough(open_pod: OpenPod, tmp_path: Path) -> None:
    rights = "~permits:* &permits:* -@all +@read +@write +@scripting +publish +subscribe +ping +time +info"
    with run_valkey(tmp_path) as valkey:
        async with Redis.from_url(valkey.url) as operator:
            execute: Any = operator.execute_command  # it has no type
            await execute("ACL", "SETUSER", "chat", "on", ">secret", *rights.split(" "))
        one, two = [await open_pod(valkey.url.replace("//", "//chat:secret@"), lease_seconds=60) for _ in range(2)]
        (permit,) = await hold(one, "a")
        (waiter,) = await queue_up(two, "b")
        permit.release()
        async with asyncio.timeout(SECONDS):
            assert (await waiter).valid()


@pytest.mark.parametrize("more", ["", "+pubsub|channels"])
async def test_a_new_pool_is_made_only_by_a_user_who_may_ask_whether_pods_listen(
    store: "Redis", redis_url: str, name: str, more: str
) -> None:
    rights = f"~permits:* &permits:* -@all +@read +@write +@scripting +ping +time +info {more}"
    execute: Any = store.execute_command
    await execute("ACL", "SETUSER", name, "reset", "on", ">secret", *rights.split())
    try:
        async with Redis.from_url(redis_url.replace("//", f"//{name}:secret@")) as redis:
            if more:
                await PoolOperator(name, redis).begin()
            else:
                with pytest.raises(PoolUnavailable, match="pubsub"):
                    await PoolOperator(name, redis).begin()
        assert bool(await store.exists(keys_of(name)[0])) == bool(more)
    finally:
        await execute("ACL", "DELUSER", name)
        await store.delete(*keys_of(name))


async def test_an_empty_pool_leaves_nothing_but_its_numbers_and_its_pods(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    pool = await open_pod()
    (permit,) = await hold(pool, "a")
    (waiter,) = await queue_up(pool, "b")
    permit.release()
    (await waiter).release()
    assert (await pool.state()).held == 0
    kept = {key async for key in store.scan_iter(match=f"*{name}*", count=10_000)}
    assert kept == {f"permits:{{{name}}}:2:{key}" for key in ("pool", "pods", "leases", "lease_lengths")}


async def test_a_waiter_whose_record_was_taken_by_hand_holds_up_nobody(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    pool = await open_pod(capacity=2, lease_seconds=60)
    permits = await hold(pool, "a", "a")
    forgotten, *waiters = await queue_up(pool, "b", "c", "d")
    (first,) = await store.zrange(f"permits:{{{name}}}:2:line", 0, 0)
    await store.hdel(f"permits:{{{name}}}:2:waiters", str(first))
    for permit in permits:
        permit.release()
    async with asyncio.timeout(SECONDS):
        assert all([(await waiter).valid() for waiter in waiters])
    await until(pool, lambda state: dict(state.clients) == {"c": 1, "d": 1} and state.waiting == 1)
    forgotten.cancel()


@pytest.mark.parametrize("seed", range(3))
async def test_the_invariants_hold_after_every_script_of_a_random_history(
    open_pod: OpenPod, store: "Redis", redis_url: str, name: str, seed: int
) -> None:
    chance = random.Random(seed)
    terms: dict[str, Any] = {"capacity": 4, "per_client": 3, "max_waiting": 8, "lease_seconds": 6}
    pods = [await open_pod(**terms) for _ in range(2)]

    async def come_and_go(client_id: str) -> None:
        for _ in range(15):
            try:
                async with asyncio.timeout(chance.choice([0.002, 0.01, 1])):
                    permit = await chance.choice(pods).acquire(client_id, wait_seconds=chance.choice([0, 0.003, 1]))
            except (PermitError, TimeoutError):
                continue
            await asyncio.sleep(chance.choice([0, 0.002]))
            permit.release()

    async def live_and_die() -> None:
        for _ in range(5):
            async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, **terms) as pod:
                await asyncio.gather(
                    *(pod.acquire(f"client-{n}", wait_seconds=0.01) for n in range(6)), return_exceptions=True
                )

    everybody = [come_and_go(f"client-{n % 6}") for n in range(16)]
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as history:
        tasks = [history.create_task(one) for one in (*everybody, live_and_die())]
        before = (0, 0)
        while not all(task.done() for task in tasks):
            now = await assert_invariants(store, name)
            assert now >= before
            assert now[1] <= 4
            before = now
    await until(pods[0], lambda state: state.held == 0)  # the last releases may be on their way
    assert before[0] > 20


async def test_a_pod_that_ends_gives_back_more_than_one_command_can_name(
    open_pod: OpenPod, store: "Redis", redis_url: str, name: str
) -> None:
    many = 5000
    terms: dict[str, Any] = {"capacity": many, "max_waiting": many, "lease_seconds": 60}
    stays = await open_pod(**terms)
    async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, **terms) as ends:
        await asyncio.gather(*(ends.acquire(f"client-{n % 7}", wait_seconds=0) for n in range(many)))
        waiters = await queue_up(stays, *(f"client-{n % 5}" for n in range(many)))
        assert (await assert_invariants(store, name))[1] == many
    async with asyncio.timeout(SECONDS):
        permits = await asyncio.gather(*waiters)
    assert [permit.ticket for permit in permits] == sorted(permit.ticket for permit in permits)
    assert (await stays.state()).held == many
    await assert_invariants(store, name)


async def assert_invariants(store: "Redis", name: str) -> tuple[int, int]:
    """Check what `lua/pool.lua` says about the keys, and return the last ticket and the high-water mark."""
    pool, pods, leases, permits, clients, line, waiters, clients_waiting, pods_waiting, pods_held = await _snapshot(
        store, name
    )
    held = [record.split(" ", 2) for record in permits.values()]
    waiting = {
        id_: (ticket, pod, client)
        for id_, (ticket, pod, _, _, _, client) in ((id_, record.split(" ", 5)) for id_, record in waiters.items())
    }
    assert counts(clients) == Counter(client for _, _, client in held)
    assert counts(pods_held) == Counter(pod for _, pod, _ in held)
    assert counts(clients_waiting) == Counter(client for _, _, client in waiting.values())
    assert counts(pods_waiting) == Counter(pod for _, pod, _ in waiting.values())
    assert {id_: int(ticket) for id_, (ticket, _, _) in waiting.items()} == dict(line)
    assert "0" not in {*clients.values(), *pods_held.values(), *clients_waiting.values(), *pods_waiting.values()}
    assert len(held) <= int(pool["capacity"])
    assert not waiting or len(held) == int(pool["capacity"])
    alive = {pod for _, pod, _ in (*held, *waiting.values())}
    assert alive <= pods.keys()
    assert alive <= dict(leases).keys()
    tickets = [int(ticket) for ticket, _, _ in (*held, *waiting.values())]
    assert len(set(tickets)) == len(tickets)
    assert max(tickets, default=0) <= int(pool.get("tickets", 0))
    return int(pool.get("tickets", 0)), int(pool.get("high_water", 0))


def counts(kept: dict[str, str]) -> Counter[str]:
    return Counter({field: int(count) for field, count in kept.items()})


async def _snapshot(store: "Redis", name: str) -> list[Any]:
    async with store.pipeline(transaction=True) as moment:
        for key in keys_of(name):
            if key.endswith((":leases", ":line")):
                moment.zrange(key, 0, -1, withscores=True)
            elif not key.endswith((":refused", ":lease_lengths", ":places", ":places_until")):
                moment.hgetall(key)
        return list(await moment.execute())
