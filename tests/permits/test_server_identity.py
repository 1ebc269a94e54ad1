"""A store says which server it is and which history its data have; otherwise it is refused, or begins a new epoch."""

import asyncio
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from devtools.valkey import run_valkey
from permits import PoolLearning
from permits.errors import PoolUnavailable
from permits.redis.keys import keys_of
from permits.redis.store import Terms
from tests.permits.conftest import OpenPod
from tests.permits.model import World
from tests.permits.parts import SECONDS, hold
from tests.permits.virtual import Clock, VirtualPod, VirtualStore

LEASE_MS = 1600
TERMS = Terms(capacity=2, per_client=None, max_waiting=5, lease_seconds=LEASE_MS / 1000)
SERVER = (resources.files("permits") / "lua" / "server.lua").read_text()


@pytest.fixture
def world(redis_url: str) -> Iterator[World]:
    """Return a pool that nobody has used, and one pod."""
    clock = Clock()
    store = VirtualStore(redis_url, clock)
    world = World(store, clock, per_client=5)
    world.pods = [VirtualPod(clock, store.name, TERMS)]
    yield world
    for pod in world.everybody():
        pod.crash()
    store.close()


def pass_leases(world: World, leases: int) -> None:
    for _ in range(leases * LEASE_MS // 100):
        world.pass_time(100)


def test_a_server_without_a_name_lets_nobody_in_and_stores_nothing(world: World) -> None:
    world.store.nameless = True
    pod = world.pods[0]
    pod.acquire("anna", 1000)
    pass_leases(world, 3)
    assert isinstance(pod.asks[0].error, PoolUnavailable)
    assert world.store.keys_left() == set()


@pytest.mark.parametrize("forgets", [False, True])
def test_a_server_that_no_longer_says_its_name_is_not_trusted(world: World, forgets: bool) -> None:
    pod = world.pods[0]
    pass_leases(world, 2)
    pod.acquire("anna", 0)
    world.settle()
    assert len(world.held()) == 1
    world.store.nameless = True
    if forgets:
        world.forget()
    pass_leases(world, 1)
    assert not world.held()
    pod.acquire("ben", 1000)
    world.settle()
    assert isinstance(pod.asks[-1].error, PoolUnavailable)
    world.store.nameless = False
    pass_leases(world, 3)
    pod.acquire("ben", 0)
    world.settle()
    assert len(world.held()) == 1


def test_a_server_that_has_gone_back_within_its_epoch_is_found_out(world: World) -> None:
    pod = world.pods[0]
    pass_leases(world, 2)
    pod.acquire("anna", 0)
    world.settle()
    before, epoch = world.store.save(), world.image.epoch()
    pod.acquire("ben", 0)
    world.settle()
    world.fail_back(before, world.store.run)
    pod.acquire("carl", 0)
    world.settle()
    assert len(world.held()) == 2
    assert world.image.epoch() > epoch


@pytest.mark.parametrize(
    ("facts", "identity"),
    [
        ("run_id:abc1\r\nmaster_replid:def2\r\n", b"abc1/def2"),
        ("run_id:abc1\r\n", b"abc1/"),
        ("master_replid:def2\r\n", None),
        ("", None),
    ],
)
async def test_the_name_of_a_server_is_its_run_and_the_history_of_its_data(
    store: "Redis", facts: str, identity: bytes | None
) -> None:
    told = f"local redis = {{ call = function() return ARGV[1] end }}\n{SERVER}\nreturn server_run()"
    name: Any = await store.eval(told, 0, facts)
    assert name == (None if identity is None else identity.decode())


async def test_the_name_is_what_the_server_says(store: "Redis") -> None:
    facts = {**await store.info("server"), **await store.info("replication")}
    name: Any = await store.eval(f"{SERVER}\nreturn server_run()", 0)
    assert name == f"{facts['run_id']}/{facts['master_replid']}"


async def test_data_of_another_history_begin_a_new_epoch(open_pod: OpenPod, tmp_path: Path, name: str) -> None:
    """A server that was a replica meanwhile has the same run id, and may have lost the last writes."""
    with run_valkey(tmp_path, options=["--enable-debug-command", "yes"]) as server:
        pool = await open_pod(server.url, capacity=2, lease_seconds=6)
        (permit,) = await hold(pool, "anna")
        async with Redis.from_url(server.url) as redis:
            before = await redis.info("server"), await _epoch(redis, name)
            await redis.execute_command("DEBUG", "CHANGE-REPL-ID")  # type: ignore[no-untyped-call]  # by redis-py
            async with asyncio.timeout(SECONDS):
                while (epoch := await _epoch(redis, name)) == before[1]:  # noqa: ASYNC110 - a server can only be asked
                    await asyncio.sleep(0.01)
            assert epoch is not None
            assert (await redis.info("server"))["run_id"] == before[0]["run_id"]
        with pytest.raises(PoolLearning):
            await hold(pool, "ben")
        assert permit.valid()


async def _epoch(redis: "Redis", name: str) -> Any:
    return await redis.hget(keys_of(name)[0], "epoch")
