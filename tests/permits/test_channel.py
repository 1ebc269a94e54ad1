"""What a connection of a pool writes, and what the server makes of it."""

import asyncio
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.credentials import CredentialProvider

from permits.redis import channel as channel_module
from permits.redis.channel import Channel, CommandHead, StoreLost, Subscription, open_connection
from permits.redis.scripts import LuaScript
from permits.redis.throughput import LEAD
from tests.permits.gate import open_gate
from tests.permits.parts import SECONDS

ROUNDS = 3000
MORE_THAN_SOCKETS_HOLD = 1 << 25


async def test_a_notice_is_on_its_way_before_the_reply_to_who_caused_it(
    redis_url: str, store: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = f"link-{uuid4().hex}"
    written: list[bytes] = []

    async def recorded(redis: "Redis", key: str) -> Any:
        wire: Any = await open_connection(redis, key)
        send = wire.send_packed_command

        async def send_and_record(commands: Sequence[bytes], *, check_health: bool) -> None:
            written[:] = commands
            await send(commands, check_health=check_health)

        wire.send_packed_command = send_and_record
        return wire

    monkeypatch.setattr(channel_module, "open_connection", recorded)
    ours = Channel(store, (), "key", lead=LEAD)
    await ours.connect()
    assert await ours.exchange([(CommandHead("PUBLISH", channel), ("permit",)), (CommandHead("ECHO"), ("done",))]) == [
        0,
        b"done",
    ]
    await ours.close()

    # Sockets that block see an order that the wake-up of an event loop would hide.
    with connected(redis_url) as caller, connected(redis_url) as listener:
        listener.sendall(f"SUBSCRIBE {channel}\r\n".encode())
        assert b"subscribe" in listener.recv(1000)
        late = 0
        for _ in range(ROUNDS):
            caller.sendall(b"".join(written))
            said = caller.recv(1000)
            late += not select.select([listener], [], [], 0)[0]
            while not said.endswith(b"done\r\n"):
                said += caller.recv(1000)
            assert b"permit" in listener.recv(1000)
    assert late == 0


async def test_nothing_is_tried_twice_behind_the_back_of_a_pool() -> None:
    connections: list[asyncio.StreamWriter] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, Redis(host=host, port=port) as redis:
        with pytest.raises(StoreLost):
            await open_connection(redis, "key")
    assert len(connections) == 1


@contextmanager
def connected(redis_url: str) -> Iterator[socket.socket]:
    """Open a socket to the store that waits for a bounded time."""
    address = urlsplit(redis_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as one:
        yield one


async def test_a_server_that_does_not_take_a_script_is_told_from_one_that_is_away(store: "Redis") -> None:
    broken = LuaScript("this is no Lua", "")
    with pytest.raises(StoreLost, match=r"Error compiling script.*; a pool needs Redis 7.0 or newer, or Valkey"):
        await Channel(store, [broken], "key").connect()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the connections that are opened."""
    connections: list[Any] = []

    async def recorded(redis: "Redis", key: str) -> Any:
        connections.append(await open_connection(redis, key))
        return connections[-1]

    monkeypatch.setattr(channel_module, "open_connection", recorded)
    return connections


async def test_a_call_is_one_write_although_a_health_check_is_due(redis_url: str, opened: list[Any]) -> None:
    async with open_gate(redis_url) as gate, Redis.from_url(gate.url, health_check_interval=60) as redis:
        channel = Channel(redis, (), "key")
        await channel.connect()
        opened[0].next_health_check = 0
        written = gate.requests
        assert await channel.exchange([(CommandHead("ECHO"), ("done",))]) == [b"done"]
        assert gate.requests == written + 1
        await channel.close()


async def test_a_subscription_answers_a_ping_although_a_health_check_is_due(
    redis_url: str, store: "Redis", opened: list[Any]
) -> None:
    """By RESP 2 the answer has another form here, and a health check of redis-py takes it for a fault."""
    name = f"link-{uuid4().hex}"
    async with Redis.from_url(redis_url, protocol=2, health_check_interval=60) as redis:
        subscription = Subscription(redis, name)
        await subscription.open()
        opened[0].next_health_check = 0
        async with asyncio.timeout(SECONDS):
            await subscription.ping()
            assert await subscription.next() is None
            assert await store.publish(name, "permit") == 1
            assert await subscription.next() == b"permit"
        await subscription.close()


class Vault(CredentialProvider):
    """Credentials for a server that takes any, once somebody has done something to the task that asks."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.error: BaseException | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        self.asked.set()
        if self.error is not None:
            raise self.error
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "default", "any"


async def test_a_cancellation_that_credentials_ignore_counts(redis_url: str) -> None:
    vault = Vault()
    async with Redis.from_url(redis_url, credential_provider=vault) as redis:
        opening = asyncio.create_task(open_connection(redis, "key"))
        await vault.asked.wait()
        opening.cancel()
        await asyncio.wait([opening], timeout=SECONDS)
        assert opening.cancelled()


@pytest.mark.parametrize("error", [LookupError("no password"), asyncio.CancelledError("no password")], ids=repr)
async def test_what_credentials_raise_is_told(redis_url: str, error: BaseException) -> None:
    vault = Vault()
    vault.error = error
    async with Redis.from_url(redis_url, credential_provider=vault) as redis:
        with pytest.raises(StoreLost, match="no password"):
            await open_connection(redis, "key")


async def test_each_connection_has_the_next_generation_and_the_scripts(
    redis_url: str, name: str, store: "Redis"
) -> None:
    script = LuaScript("return 'ran'", sha1(b"return 'ran'").hexdigest())
    async with Redis.from_url(redis_url, client_name=name, decode_responses=True) as redis:
        no_text = (CommandHead("EVAL", r"return '\255'"), (0,))
        channel = Channel(redis, [script], "key", lead=[no_text])
        with pytest.raises(StoreLost, match="not connected"):
            await channel.exchange([])
        for generation in (1, 2):
            assert (channel.connected, channel.generation) == (False, generation - 1)
            await channel.connect()
            await channel.connect()
            assert (channel.connected, channel.generation) == (True, generation)
            assert await channel.exchange([(CommandHead("EVALSHA", script.sha), (0,))]) == [b"ran"]
            await channel.close()
        await until_none_is_open(store, name)


async def until_none_is_open(store: "Redis", client: str) -> None:
    async with asyncio.timeout(SECONDS):
        while any(found["name"] == client for found in await store.client_list()):  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(0.01)


async def test_an_error_ends_the_connection(redis_url: str, name: str, store: "Redis") -> None:
    async with Redis.from_url(redis_url, client_name=name) as redis:
        channel = Channel(redis, (), "key")
        await channel.connect()
        with pytest.raises(StoreLost, match="unknown command"):
            await channel.exchange([(CommandHead("NONSENSE"), ())])
        assert not channel.connected
        await channel.connect()
        with pytest.raises(TypeError):
            await channel.send([(CommandHead("ECHO"), (None,))])  # type: ignore[list-item]
        assert not channel.connected
        await channel.connect()
        receiving = asyncio.create_task(channel.receive(1))
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait([receiving])
        assert receiving.cancelled()
        assert not channel.connected
        await until_none_is_open(store, name)


async def test_a_connection_is_closed_at_once_although_the_server_reads_nothing(redis_url: str) -> None:
    async with open_gate(redis_url) as gate, Redis.from_url(gate.url) as redis:
        channel = Channel(redis, (), "key")
        await channel.connect()
        gate.valve.requests.clear()
        sending = asyncio.create_task(channel.send([(CommandHead("ECHO"), ("x" * MORE_THAN_SOCKETS_HOLD,))]))
        await gate.next_request()
        closing = asyncio.create_task(channel.close())
        for _ in range(5):
            await asyncio.sleep(0)
        assert closing.done()
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_subscription_hears_until_it_is_closed(redis_url: str, name: str, store: "Redis") -> None:
    async with Redis.from_url(redis_url, client_name=name, decode_responses=True) as redis:
        subscription = Subscription(redis, name)
        with pytest.raises(StoreLost, match="not subscribed"):
            await subscription.next()
        await subscription.open()
        assert await store.publish(name, "permit") == 1
        async with asyncio.timeout(SECONDS):
            assert await subscription.next() == b"permit"
            waiting = asyncio.create_task(subscription.next())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await store.publish(name, "later")
            assert await subscription.next() == b"later"
        await subscription.close()
        await until_none_is_open(store, name)
        with pytest.raises(StoreLost, match="not subscribed"):
            await subscription.next()
