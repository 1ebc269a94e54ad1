"""The clients that a pool works with, on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as synchronous
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.crc import key_slot
from redis.credentials import CredentialProvider

from devtools.ports import free_port
from devtools.servers import wait_until
from devtools.valkey import ValkeyServer, run_sentinel, run_valkey
from devtools.valkey_cluster import Cluster, ask, run_cluster
from permits import PermitError, PoolUnavailable
from permits.redis import PoolOperator, RedisPool, find_pools
from permits.redis.clients import Client
from permits.redis.keys import keys_of
from tests.permits.command import Cli
from tests.permits.parts import SECONDS, hold, queue_up, ready, until

LEASE_SECONDS = 12.0
"""Long enough for a fail-over of a few seconds to cost nobody a permit."""
FAILOVER_SECONDS = 60.0


def make_pool(redis: Any) -> object:
    return RedisPool("a", redis=redis, capacity=1)


def make_operator(redis: Any) -> object:
    return PoolOperator("a", redis)


@pytest.mark.parametrize("make", [make_pool, make_operator])
def test_what_is_no_client_of_asyncio_is_refused(make: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"not a redis.client.Redis; import it from redis.asyncio"):
        make(synchronous.Redis())
    for other in ("redis://127.0.0.1", None, Redis):
        with pytest.raises(TypeError, match=r"needs a redis.asyncio.Redis or redis.asyncio.RedisCluster, not a "):
            make(other)


@pytest.mark.parametrize("make", [make_pool, make_operator])
def test_a_client_with_a_synchronous_pool_is_refused(make: Callable[[Any], object]) -> None:
    connections: Any = synchronous.ConnectionPool()
    with pytest.raises(TypeError, match="a synchronous connection pool"):
        make(Redis(connection_pool=connections))


async def pods_share_permits(one: RedisPool, two: RedisPool, operator: PoolOperator) -> None:
    """Go through what two pods of a pool with two places do, by whatever client."""
    permits = await hold(one, "anna", "ünï")
    (waiting,) = await queue_up(two, "ben")
    assert dict((await two.state()).clients) == {"anna": 1, "ünï": 1}
    view = await operator.show()
    assert [waiter.client_id for waiter in view.line] == ["ben"]
    assert len(view.pods) == 2
    permits[0].release()
    async with asyncio.timeout(SECONDS):
        served = await waiting
    assert served.valid()
    for permit in (permits[1], served):
        permit.release()
    await until(one, lambda state: state.held == 0)


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex}"


@asynccontextmanager
async def two_pods(name: str, make: Callable[[], Client]) -> AsyncIterator[tuple[RedisPool, RedisPool, Client]]:
    """Open two pods of a pool that has forgotten nothing, each with a client of its own."""
    async with AsyncExitStack() as stack:
        clients = [make() for _ in range(3)]
        for client in clients:
            stack.push_async_callback(client.aclose)
        pods = [
            await stack.enter_async_context(
                RedisPool(name, redis=client, capacity=2, lease_seconds=LEASE_SECONDS, answer_seconds=1)
            )
            for client in clients[:2]
        ]
        for pod in pods:
            await ready(pod)
        await PoolOperator(name, clients[2]).trust()
        yield pods[0], pods[1], clients[2]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [True, False], ids=["decoded", "bytes"])
async def test_one_server_whatever_the_client_does_with_replies(
    redis_url: str, name: str, protocol: int, decode: bool
) -> None:
    def make() -> Client:
        return Redis.from_url(redis_url, protocol=protocol, decode_responses=decode)

    async with two_pods(name, make) as (one, two, client):
        await pods_share_permits(one, two, PoolOperator(name, client))
        assert name in await find_pools(client)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def pool_at(number: int) -> str:
    """Return the name of a pool whose slot is in this third of the cluster."""
    while True:
        name = f"test-{uuid4().hex}"
        if key_slot(name.encode()) * 3 // 16384 == number:
            return name


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [True, False], ids=["decoded", "bytes"])
async def test_a_cluster_whatever_the_client_does_with_replies(cluster: Cluster, protocol: int, decode: bool) -> None:
    def make() -> Client:
        return RedisCluster.from_url(cluster.primaries[0].url, protocol=protocol, decode_responses=decode)

    for third in range(3):
        name = pool_at(third)
        async with two_pods(name, make) as (one, two, client):
            await pods_share_permits(one, two, PoolOperator(name, client))
            assert name in await find_pools(client)


async def test_the_command_finds_the_pools_of_a_cluster_by_any_of_its_nodes(cluster: Cluster) -> None:
    names = [pool_at(third) for third in range(3)]
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(RedisCluster.from_url(cluster.primaries[0].url))
        for name in names:
            await stack.enter_async_context(RedisPool(name, redis=redis, capacity=1, lease_seconds=LEASE_SECONDS))
        cli = Cli(cluster.primaries[1].url)
        assert {shown["pool"] for shown in (await cli("show", "--json")).objects} >= set(names)
        for name in names:
            done = await cli("set", name, "--capacity", "3")
            assert (done.code, done.err) == (0, "")
            assert "capacity 1 → 3" in done.out
    for name in names:
        assert (await cli("show", name)).code == 0


async def test_a_pool_whose_slot_moves_goes_along(cluster: Cluster) -> None:
    name = pool_at(1)

    def make() -> Client:
        return RedisCluster.from_url(cluster.primaries[0].url)

    async with two_pods(name, make) as (one, two, _):
        permits = await hold(one, "anna", "ben")
        (waiting,) = await queue_up(two, "clara", wait_seconds=FAILOVER_SECONDS)
        source, target = cluster.primaries[1:]
        await asyncio.to_thread(cluster.move, key_slot(name.encode()), source, target)
        try:
            await held_by(one, "anna", "ben")
            assert await on(target, name)
            assert not await on(source, name)
            permits[0].release()
            async with asyncio.timeout(FAILOVER_SECONDS):
                served = await waiting
            assert served.valid()
            assert permits[1].valid()
        finally:
            await asyncio.to_thread(cluster.move, key_slot(name.encode()), target, source)


async def held_by(pool: RedisPool, *clients: str) -> None:
    """Wait until the store is back, and tells that these hold one permit each."""
    async with asyncio.timeout(FAILOVER_SECONDS):
        for pause in repeat(0.05):
            try:
                if dict((await pool.state()).clients) == dict.fromkeys(clients, 1):
                    return
            except PermitError:
                pass  # out of reach
            await asyncio.sleep(pause)


async def on(node: ValkeyServer, name: str) -> bool:
    """Whether a node keeps a pool."""
    async with Redis.from_url(node.url) as client:
        try:
            return bool(await client.exists(keys_of(name)[0]))
        except synchronous.exceptions.RedisError:
            return False


async def test_a_client_for_one_server_says_that_a_cluster_redirects_it(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    name = pool_at(2)
    async with (
        Redis.from_url(cluster.primaries[0].url) as redis,
        RedisPool(name, redis=redis, capacity=1, lease_seconds=LEASE_SECONDS) as pool,
    ):
        assert not pool.ready()
    assert f"127.0.0.1:{cluster.primaries[2].port} keeps this pool now; a RedisCluster client goes there" in caplog.text


async def test_a_fail_over_of_a_cluster_costs_nobody_a_permit(tmp_path: Path) -> None:
    name = pool_at(0)
    with run_cluster(tmp_path) as cluster:

        def make() -> Client:
            return RedisCluster.from_url(cluster.primaries[1].url)

        async with two_pods(name, make) as (one, two, _):
            await survives_the_death_of(cluster.primaries[0], one, two)


async def survives_the_death_of(server: ValkeyServer, one: RedisPool, two: RedisPool) -> None:
    """Kill the server of a pool with two places, one at each pod, and one who waits; see that all goes on elsewhere."""
    (first,) = await hold(one, "anna")
    (second,) = await hold(two, "ben")
    (waiting,) = await queue_up(two, "clara", wait_seconds=FAILOVER_SECONDS)
    server.process.kill()
    await held_by(one, "anna", "ben")
    async with asyncio.timeout(FAILOVER_SECONDS):
        assert first.valid()
        assert second.valid()
        first.release()
        served = await waiting
    assert served.valid()
    assert second.valid()
    state = await until(one, lambda state: state.waiting == 0)
    assert dict(state.clients) == {"ben": 1, "clara": 1}


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[tuple[ValkeyServer, int]]:
    """A primary with a replica and a sentinel that watches over them; return the primary and the sentinel's port."""
    with ExitStack() as stack:
        for folder in ("primary", "replica", "sentinel"):
            (tmp_path / folder).mkdir()
        primary = stack.enter_context(run_valkey(tmp_path / "primary"))
        following = ["--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0"]
        stack.enter_context(run_valkey(tmp_path / "replica", options=following))
        settings = tmp_path / "sentinel" / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor permits 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds permits 700\n"
            "sentinel failover-timeout permits 5000\n"
        )
        port = free_port()
        stack.enter_context(run_sentinel(settings, port))
        wait_until(
            lambda: bool(ask("SENTINEL", "REPLICAS", "permits", url=f"redis://127.0.0.1:{port}")),
            lambda: True,
            "the sentinel knows of no replica",
            settings.parent / "sentinel.log",
        )
        yield primary, port


async def test_a_fail_over_by_sentinel_costs_nobody_a_permit(sentinel: tuple[ValkeyServer, int], name: str) -> None:
    primary, port = sentinel

    managers: list[Any] = []

    def make() -> Client:
        sentinel_client: Any = Sentinel
        managers.append(sentinel_client([("127.0.0.1", port)]))
        return managers[-1].master_for("permits")  # type: ignore[no-any-return]

    async with two_pods(name, make) as (one, two, _):
        await survives_the_death_of(primary, one, two)
    for manager in managers:
        for client in manager.sentinels:
            await client.aclose()


class Rotating(CredentialProvider):
    """Credentials that change."""

    def __init__(self) -> None:
        self.password = "first"
        self.asked = 0

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return "permits", self.password


async def test_credentials_that_change_cost_nobody_a_permit(tmp_path: Path, name: str) -> None:
    rules = ("on", "~permits:*", "&permits:*", "+@read", "+@write", "+@scripting", "+@connection")
    more = ("+publish", "+subscribe", "+time", "+info")
    with run_valkey(tmp_path) as valkey:
        ask("ACL", "SETUSER", "permits", *rules, *more, ">first", url=valkey.url)
        credentials = Rotating()

        def make() -> Client:
            return Redis(host="127.0.0.1", port=valkey.port, credential_provider=credentials)

        async with two_pods(name, make) as (one, two, _):
            permits = await hold(one, "anna", "ben")
            (waiting,) = await queue_up(two, "clara")
            asked = credentials.asked
            ask("ACL", "SETUSER", "permits", "resetpass", ">second", url=valkey.url)
            credentials.password = "second"
            ask("CLIENT", "KILL", "USER", "permits", url=valkey.url)
            permits[0].release()
            async with asyncio.timeout(SECONDS):
                served = await waiting
            assert served.valid()
            assert permits[1].valid()
            assert credentials.asked > asked


async def test_a_server_without_info_is_refused_with_a_reason(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with run_valkey(tmp_path, options=["--rename-command", "INFO", ""]) as valkey:
        async with Redis.from_url(valkey.url) as redis, RedisPool(name, redis=redis, capacity=1) as pool:
            assert not pool.ready()
    assert "a pool needs a command that this server does not offer" in caplog.text


async def test_a_user_that_may_not_subscribe_is_said_to_wait_for_heartbeats(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules = ("on", "nopass", "resetchannels", "~permits:*", "+@all")
    said = "(No permissions to access a channel); waiters hear of permits with heartbeats only"
    with run_valkey(tmp_path) as valkey:
        ask("ACL", "SETUSER", "permits", *rules, url=valkey.url)
        async with (
            Redis(port=valkey.port, username="permits", password="any") as redis,
            RedisPool(name, redis=redis, capacity=1, lease_seconds=3) as pool,
        ):
            async with asyncio.timeout(SECONDS):
                for pause in repeat(0.02):
                    if said in caplog.text:
                        break
                    await asyncio.sleep(pause)
            assert pool.ready()
    assert sum(said in record.message for record in caplog.records if record.levelname == "WARNING") == 1


class Unreliable(CredentialProvider):
    """Fails at first, in some way."""

    def __init__(self, fail: Callable[[], Awaitable[None]]) -> None:
        self.fail = fail
        self.failures = 3

    def get_credentials(self) -> tuple[str]:
        raise AssertionError("the asynchronous method is asked")

    async def get_credentials_async(self) -> tuple[str]:
        if self.failures:
            self.failures -= 1
            await self.fail()
        return ("secret",)


async def raise_error() -> None:
    raise LookupError("no password today")


async def raise_cancellation() -> None:
    raise asyncio.CancelledError


async def raise_group() -> None:
    raise BaseExceptionGroup("several", [asyncio.CancelledError()])


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


async def swallow_cancellation() -> None:
    try:
        await hang()
    except asyncio.CancelledError:
        raise LookupError("no password today") from None


async def ignore_cancellation() -> None:
    with suppress(asyncio.CancelledError):
        await hang()


FAILS = [raise_error, raise_cancellation, raise_group, hang, swallow_cancellation]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server with a password."""
    with run_valkey(tmp_path_factory.mktemp("locked")) as valkey:
        ask("CONFIG", "SET", "requirepass", "secret", url=valkey.url)
        yield valkey


@pytest.mark.parametrize("fail", FAILS)
async def test_credentials_that_fail_at_first_end_no_pool(
    locked: ValkeyServer, name: str, fail: Callable[[], Awaitable[None]]
) -> None:
    redis = Redis(port=locked.port, credential_provider=Unreliable(fail))
    async with redis, RedisPool(name, redis=redis, capacity=1, lease_seconds=2, answer_seconds=0.2) as pool:
        async with asyncio.timeout(SECONDS):
            for pause in repeat(0.05):
                try:
                    (await pool.acquire("anna", wait_seconds=SECONDS)).release()
                except PoolUnavailable:
                    await asyncio.sleep(pause)
                else:
                    break


@pytest.mark.parametrize(
    ("fail", "reason"), [(raise_error, "no password today"), (raise_cancellation, "CancelledError")]
)
async def test_a_log_line_says_why_there_are_no_credentials(
    locked: ValkeyServer, name: str, caplog: pytest.LogCaptureFixture, fail: Callable[[], Awaitable[None]], reason: str
) -> None:
    redis = Redis(port=locked.port, credential_provider=Unreliable(fail))
    async with redis, RedisPool(name, redis=redis, capacity=1, lease_seconds=2):
        said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"the store is out of reach ({reason})" in line for line in said)


@pytest.mark.parametrize("fail", [*FAILS, ignore_cancellation])
async def test_credentials_that_never_come_hold_up_no_closing(
    locked: ValkeyServer, name: str, fail: Callable[[], Awaitable[None]]
) -> None:
    provider = Unreliable(fail)
    provider.failures = 1_000_000
    async with asyncio.timeout(SECONDS):
        async with (
            Redis(port=locked.port, credential_provider=provider) as redis,
            RedisPool(name, redis=redis, capacity=1, lease_seconds=2, answer_seconds=0.2) as pool,
        ):
            assert not pool.ready()
