"""A sound server passes a run of real clients, also of workers; one that breaks a promise does not."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from loadtest.drive import LOG, Drive
from loadtest.plans import Plan
from loadtest.promises import Limits
from loadtest.recording import read_recording
from loadtest.report.write import FIGURES, PAGE, write_report
from loadtest.target import Target
from loadtest.verdicts import Judgement, judge
from loadtest.watch import POOLS
from permits.redis import PoolOperator
from servicekit.tokens import mint
from tests.loadtest.broken import FAULTS
from tests.loadtest.workers import workers
from tests.support.ports import free_port
from tests.support.processes import Service, running, start
from tests.support.servers import ROOT
from tests.support.valkey import run_valkey

SECRET = "a secret of thirty-two bytes and more"
AUTH = {pod: {f"{pod}_AUTH": "jwt", f"{pod}_TOKEN_SECRETS": SECRET} for pod in ("CHAT", "HISTORY")}
LIMITS = Limits(connections=4, messages=10, window=6, connect_wait_seconds=6)
HERE = Path(__file__).parent
PLAN = Plan(name="tiny", shape=HERE / "tiny.py", seconds=11, must_reach=("connections", "messages"))
ABRUPT_SHAPE = HERE / "abrupt.py"
BY_WORKERS = "by_workers"
RUNS = {**{fault: fault for fault in FAULTS}, BY_WORKERS: "nothing"}
"""The runs that are made, and what breaks in each."""
WORKERS = 2

pytestmark = pytest.mark.timeout(300)  # the first test waits for all runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The folders of the runs, each of them short, all of them at the same time: they mostly wait."""
    folder = tmp_path_factory.mktemp("load")
    folders = {run: folder / run for run in RUNS}
    with ExitStack() as open_until, pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOADTEST_TOKEN_SECRET", SECRET)
        environment.setenv("PYTHONPATH", os.fspath(ROOT))  # pods run elsewhere, and one of ours is a test module
        valkey = open_until.enter_context(run_valkey(folder))
        history_settings = {"HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0, **AUTH["HISTORY"]}
        history = open_until.enter_context(running("history_service", folder / "history.log", history_settings))
        stores = {run: f"{valkey.url.removesuffix('/0')}/{number}" for number, run in enumerate(RUNS)}

        def start_pod(run: str) -> Service:
            folders[run].mkdir()
            settings = chat_settings(RUNS[run], stores[run], history)
            return start("tests.loadtest.broken", folders[run] / "chat.log", settings)

        with ThreadPoolExecutor() as side_by_side:
            pods = dict(zip(RUNS, side_by_side.map(start_pod, RUNS), strict=True))
        for pod in pods.values():
            open_until.callback(pod.stop)
        port = free_port()
        open_until.enter_context(workers(WORKERS, ABRUPT_SHAPE, port, folders[BY_WORKERS]))
        asyncio.run(
            visit_all([drive(run, folders[run], target(stores[run], pods[run], history), port) for run in RUNS])
        )
        for pod in pods.values():
            pod.kill(signal.SIGTERM)  # they drain side by side, too
        yield folders


def chat_settings(fault: str, store: str, history: Service) -> dict[str, object]:
    return {
        "BREAK": fault,
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "CHAT_REDIS_URL": store,
        "CHAT_HISTORY_URL": f"http://127.0.0.1:{history.ports['history']}",
        "CHAT_MAX_CONNECTIONS": LIMITS.connections,
        "CHAT_MAX_MESSAGES": LIMITS.messages,
        "CHAT_WINDOW": LIMITS.window,
        "CHAT_CONNECT_WAIT_SECONDS": LIMITS.connect_wait_seconds,
        "CHAT_LEASE_SECONDS": LIMITS.lease_seconds,
        "CHAT_BOT_TYPING_SECONDS": 0.5,
        "CHAT_MEDIA_PROCESSES": 1,
        "CHAT_HISTORY_TOKEN": mint(
            SECRET, subject="chat", audience="chatbot", lifetime=timedelta(hours=1), scope="ingest"
        ),
        **AUTH["CHAT"],
    }


def target(store: str, chat: Service, history: Service) -> Target:
    return Target(
        chat=(f"ws://127.0.0.1:{chat.ports['chat']}",),
        history=f"http://127.0.0.1:{history.ports['history']}",
        redis_url=store,
        metrics={"chat-0": f"http://127.0.0.1:{chat.ports['chat-metrics']}/metrics"},
        pids={"chat-0": chat.process.pid},
        limits=LIMITS,
    )


def drive(run: str, folder: Path, system: Target, port: int) -> Drive:
    if run != BY_WORKERS:
        return Drive(target=system, plan=PLAN, folder=folder, stop=asyncio.Event())
    return Drive(
        target=system, plan=replace(PLAN, shape=ABRUPT_SHAPE), folder=folder, stop=asyncio.Event(),
        expected_workers=WORKERS, locust_options=["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)],
    )  # fmt: skip


async def visit_all(drives: list[Drive]) -> None:
    for one in drives:
        async with Redis.from_url(one.target.redis_url) as redis:
            for pool in POOLS:
                await PoolOperator(pool, redis).trust()
    async with asyncio.TaskGroup() as tasks:
        for one in drives:
            tasks.create_task(one.run())


def broken(folder: Path) -> dict[str, str]:
    return {v.promise: v.detail for v in judge(read_recording(folder)) if v.judgement is Judgement.BROKEN}


def test_a_sound_server_keeps_every_promise(runs: dict[str, Path]) -> None:
    verdicts = judge(read_recording(runs["nothing"]))
    assert {v.promise: v.detail for v in verdicts if v.judgement is not Judgement.KEPT} == {}
    assert write_report(runs["nothing"])
    assert (runs["nothing"] / PAGE).stat().st_size > 10_000
    assert (runs["nothing"] / FIGURES).read_text().startswith('{\n "kept": true')


def test_what_the_clients_of_workers_saw_is_whole_though_the_run_ends_abruptly(runs: dict[str, Path]) -> None:
    recording = read_recording(runs[BY_WORKERS])
    assert {v.promise: v.detail for v in judge(recording) if v.judgement is not Judgement.KEPT} == {}
    assert [
        visit for visit in recording.seen.visits.values() if visit.entrance == "let_in" and not visit.ended_at
    ] == []
    assert f"{WORKERS} workers connected" in (runs[BY_WORKERS] / LOG).read_text()


def test_a_pool_that_grants_too_many_is_found_out_by_the_store_and_by_clients(runs: dict[str, Path]) -> None:
    found = broken(runs["too_many_granted"])
    assert {"connections_not_exceeded", "messages_not_exceeded"} <= set(found)
    assert "the high-water mark of the store is 7" in found["connections_not_exceeded"]
    assert "clients saw 7 of their own connections open at once" in found["connections_not_exceeded"]
    assert not write_report(runs["too_many_granted"])


def test_a_line_that_is_served_from_its_end_is_found_out_by_its_tickets(runs: dict[str, Path]) -> None:
    found = broken(runs["line_served_from_its_end"])
    assert "was served while" in found["order_of_tickets"]
    assert "connections_not_exceeded" not in found


def test_an_exchange_that_was_answered_and_not_kept_is_missed(runs: dict[str, Path]) -> None:
    found = broken(runs["exchanges_dropped"])
    assert "was answered, and history does not have it so" in found["nothing_lost"]
    assert set(found) == {"nothing_lost"}
