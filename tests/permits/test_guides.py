"""The guides of the library: their code is run as it stands there, only the address of the store is another."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis as synchronous
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from redis.asyncio import Redis

from devtools.valkey import ValkeyServer, run_valkey
from permits.memory import MemoryPool
from permits.redis import PodView, PoolOperator, RedisPool
from permits.sync import SyncPool
from tests.permits.parts import SECONDS, until
from tests.permits.test_package import STORE
from tests.support.pages import python_examples


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A store of its own, for the names of pools in the guides are fixed."""
    with run_valkey(tmp_path) as server:
        yield server


def guide(name: str, valkey: ValkeyServer) -> str:
    """Return the program of a guide, for this store."""
    (program,) = python_examples(f"libs/permits/docs/{name}.md")
    assert STORE in program
    return program.replace("127.0.0.1:6379", f"127.0.0.1:{valkey.port}")


@contextmanager
def vouched(name: str, valkey: ValkeyServer, capacity: int) -> Iterator[SyncPool]:
    """Open a pool that others will use, and vouch that the store, which is new, has forgotten nothing."""
    with SyncPool(lambda: RedisPool(name, redis=Redis.from_url(valkey.url), capacity=capacity)) as pool:
        pool.open()

        async def vouch() -> None:
            async with Redis.from_url(valkey.url) as redis:
                await PoolOperator(name, redis).trust()

        asyncio.run(vouch())
        yield pool


def pods(valkey: ValkeyServer, name: str) -> Sequence[PodView]:
    """Return the pods of a pool."""

    async def look() -> Sequence[PodView]:
        async with Redis.from_url(valkey.url) as redis:
            return (await PoolOperator(name, redis).show()).pods

    return asyncio.run(look())


def wait_for(reached: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


async def test_the_guide_for_fastapi(valkey: ValkeyServer) -> None:
    module = ModuleType("guide")
    exec(compile(guide("fastapi", valkey), "fastapi.md", "exec"), module.__dict__)
    app: FastAPI = module.app
    async with app.router.lifespan_context(app), client_of(app) as client:
        pool: RedisPool = app.state.pool
        await PoolOperator("reports", module.redis).trust()
        answer = await client.get("/report", params={"user": "anna"})
        assert (answer.status_code, answer.json()) == (200, {"report": "for anna"})
        held = [await pool.acquire(name, wait_seconds=0) for name in ("ben", "clara", "dora")]
        refused = await client.get("/report", params={"user": "ben"})
        assert (refused.status_code, refused.json()["code"]) == (429, "client_limit")
        held.append(await pool.acquire("emil", wait_seconds=0))
        waiting = asyncio.create_task(client.get("/report", params={"user": "anna"}))
        await until(pool, lambda state: state.waiting == 1)
        held[0].release()
        assert (await waiting).status_code == 200
        held.append(await pool.acquire("frida", wait_seconds=0))
        full = await client.get("/report", params={"user": "anna"})
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "cluster_full", "2")
        for permit in held:
            permit.release()
        await until(pool, lambda state: state.held == 0)


async def test_a_request_that_loses_its_permit_is_answered(valkey: ValkeyServer) -> None:
    module = ModuleType("guide")
    exec(compile(guide("fastapi", valkey), "fastapi.md", "exec"), module.__dict__)
    app: FastAPI = module.app

    async def slow(permit: Any) -> None:
        permit.lose()
        await asyncio.get_running_loop().create_future()

    slow.__annotations__["permit"] = module.report.__annotations__["permit"]
    app.get("/slow")(slow)
    async with MemoryPool("reports", capacity=1) as pool, client_of(app) as client:
        app.state.pool = pool
        async with asyncio.timeout(SECONDS):
            answer: Response = await client.get("/slow", params={"user": "anna"})
        assert (answer.status_code, answer.json()["code"]) == (503, "permit_lost")
        assert (await pool.state()).held == 0


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app=app), base_url="http://service")


@pytest.mark.parametrize("workers", ["prefork", "threads"])
def test_the_guide_for_celery(valkey: ValkeyServer, tmp_path: Path, workers: str) -> None:
    backend = f'broker="redis://127.0.0.1:{valkey.port}/1", backend="redis://127.0.0.1:{valkey.port}/2"'
    program = re.sub(r'broker="[^"]*"', backend, guide("celery", valkey)).replace("countdown=5", "countdown=0.1")
    (tmp_path / "exports.py").write_text(program)
    (tmp_path / "customers.py").write_text(
        "import sys\n"
        "from exports import export\n"
        "results = [export.delay(f'customer-{number % 5}') for number in range(10)]\n"
        "print([result.get(timeout=60) for result in results])\n"
    )
    command = [sys.executable, "-m", "celery", "-A", "exports", "worker", "-P", workers, "-c", "4", "-l", "INFO"]
    with vouched("exports", valkey, 3) as pool, (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            done = subprocess.run(
                [sys.executable, "customers.py"], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
            )
            assert done.returncode == 0, f"{done.stderr}\n{(tmp_path / 'worker.log').read_text()}"
            exported = [f"exported customer-{number % 5}" for number in range(10)]
            assert done.stdout == f"{exported}\n"
            state = pool.state()
            assert (state.held, state.waiting) == (0, 0)
            assert 1 <= state.high_water <= 3
            assert len(pods(valkey, "exports")) > 1
        finally:
            worker.terminate()
            worker.wait(60)
        wait_for(lambda: len(pods(valkey, "exports")) == 1)  # that of this test


def test_a_job_that_was_killed_runs_the_next_time(valkey: ValkeyServer) -> None:
    program = guide("cron", valkey).replace("capacity=1", "capacity=1, lease_seconds=2")
    killed = program.replace('print("cleaned up")', "import os; os.kill(os.getpid(), 9)")
    for text, said, code in (
        (program, "cleaned up\n", 0),  # on a new store
        (killed, "", -9),
        (program, "another machine does it\n", 0),
    ):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.returncode) == (said, code)
    seen = "HGET permits:{nightly-cleanup}:2:pool seen"
    with synchronous.Redis(port=valkey.port) as store:
        wait_for(lambda: store.time()[0] * 1000 - int(store.execute_command(*seen.split())) > 3000)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("cleaned up\n", 0)


def test_the_guide_for_cron(valkey: ValkeyServer, tmp_path: Path) -> None:
    program = guide("cron", valkey)
    slow = program.replace('print("cleaned up")', 'print("cleaned up", flush=True); sys.stdin.read()')
    command = [sys.executable, "-W", "error", "-c"]
    with vouched("nightly-cleanup", valkey, 1) as pool:
        first = subprocess.Popen([*command, slow], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert first.stdout is not None
        assert first.stdout.readline() == "cleaned up\n"
        other = subprocess.run([*command, program], capture_output=True, text=True, timeout=60, check=True)
        assert (other.stdout, other.stderr) == ("another machine does it\n", "")
        first.communicate("", timeout=60)
        assert first.returncode == 0
        wait_for(lambda: pool.state().held == 0)
        again = subprocess.run([*command, program], capture_output=True, text=True, timeout=60, check=True)
        assert again.stdout == "cleaned up\n"
    valkey.process.terminate()
    valkey.process.wait(60)
    away = subprocess.run([*command, program], capture_output=True, text=True, timeout=60, check=False)
    assert away.returncode == 1
    assert "cannot be asked" in away.stderr
