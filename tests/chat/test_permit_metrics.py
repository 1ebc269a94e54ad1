"""What the metrics port tells of permits: a whole pod on a real store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from chat_service.app import ChatServer, open_chat
from chat_service.settings import ChatSettings
from devtools.valkey import run_valkey
from permits import PermitError, PermitPool
from permits.redis import PoolOperator, RedisPool
from servicekit.settings import load
from tests.permits.parts import SECONDS, hold, queue_up, until

LEASE_SECONDS = 4


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """Return the address of a store that nobody has used: the pools of chat have fixed names."""
    with run_valkey(tmp_path) as valkey:
        yield valkey.url


@asynccontextmanager
async def pod(
    folder: Path, store_url: str, monkeypatch: pytest.MonkeyPatch, lease_seconds: float = LEASE_SECONDS
) -> AsyncIterator[ChatServer]:
    for name, value in {
        "REDIS_URL": store_url,
        "DATA_DIR": str(folder / "chat"),
        "LEASE_SECONDS": str(lease_seconds),
        "MAX_CONNECTIONS": "1",
        "MAX_CONNECTIONS_PER_CLIENT": "1",
        "MAX_WAITING": "1",
        "MEDIA_PROCESSES": "1",
    }.items():
        monkeypatch.setenv(f"CHAT_{name}", value)
    async with open_chat(load(ChatSettings, prog="chat", description="", argv=[])) as chat:
        yield chat


async def scrape(chat: ChatServer, pool: str = "connections") -> dict[str, float]:
    """Return the figures of a pool, by name and the rest of their labels."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(chat.metrics_app), base_url="http://pod") as http:
        text = (await http.get("/metrics")).text
    return {
        " ".join((sample.name.removeprefix("chatbot_permits_"), *rest.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("chatbot_permits_")
        and (rest := dict(sample.labels)).pop("pool", None) == pool
        and "le" not in rest
    }


async def refused(pool: PermitPool, client_id: str, wait_seconds: float = SECONDS) -> None:
    with pytest.raises(PermitError):
        await pool.acquire(client_id, wait_seconds=wait_seconds)


async def test_all_figures_are_there_before_anything_has_happened(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pod(tmp_path, store_url, monkeypatch, 60) as chat, Redis.from_url(store_url) as redis:
        for pool in ("connections", "messages"):
            figures = await scrape(chat, pool)
            assert figures.pop("learning") == 1
            assert figures.pop("readable") == 1
            assert figures.pop("capacity") > 0
            created = {name for name in figures if "_created" in name}
            assert {name: figures[name] for name in figures.keys() - created} == dict.fromkeys(
                [
                    *("held", "waiting", "high_water", "reaped", "timed_out_total", "lost_total", "faults_total"),
                    *("granted_total at_once", "granted_total waited", "wait_seconds_count", "wait_seconds_sum"),
                    *("refused_total client_limit", "refused_total line_full", "refused_total wait_replaced"),
                    *("refused_total limits_learning", "refused_total limits_unavailable", "refused_total draining"),
                ],
                0,
            )
            await PoolOperator(pool, redis).trust()
            assert (await scrape(chat, pool))["learning"] == 0


async def test_what_becomes_of_those_who_ask_is_counted(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pod(tmp_path, store_url, monkeypatch) as chat, Redis.from_url(store_url) as redis:
        operator, pool = PoolOperator("connections", redis), chat.connections
        await operator.trust()
        (first,) = await hold(pool, "anna")
        await refused(pool, "anna")
        (waiting,) = await queue_up(pool, "ben")
        await refused(pool, "carl")
        await refused(pool, "dave", 0)
        first.release()
        second = await waiting
        [view] = (await operator.show()).pods
        await operator.refuse(view.name)
        async with asyncio.timeout(SECONDS):
            await second.lost()
        figures = await scrape(chat)
        assert {name: figures[name] for name in figures if "_total" in name and figures[name]} == {
            "granted_total at_once": 1,
            "granted_total waited": 1,
            "refused_total client_limit": 1,
            "refused_total line_full": 1,
            "timed_out_total": 1,
            "lost_total": 1,
        }
        assert figures["wait_seconds_count"] == 2


async def test_permits_of_a_pod_that_fell_silent_are_counted_when_they_come_back(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pod(tmp_path, store_url, monkeypatch) as chat, AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(store_url))
        operator = PoolOperator("connections", redis)
        await operator.trust()
        silent = RedisPool("connections", redis=redis, capacity=1, lease_seconds=LEASE_SECONDS)
        await stack.enter_async_context(silent)
        await hold(silent, "anna")
        [name] = [view.name for view in (await operator.show()).pods if view.held]
        await operator.refuse(name)
        await until(chat.connections, lambda state: state.held == 0)
        assert (await scrape(chat))["reaped"] == 1
