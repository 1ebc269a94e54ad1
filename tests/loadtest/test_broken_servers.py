"""A sound server passes a run of real clients, also of workers; one that breaks a promise does not."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from devtools.ports import free_port
from devtools.processes import ServiceProcess, running, start
from devtools.servers import ROOT
from devtools.valkey import run_valkey
from loadtest.checks.verdicts import Judgement, judge
from loadtest.plans import Plan
from loadtest.recording import read_recording
from loadtest.report.write import FIGURES, PAGE, write_report
from loadtest.run import LOG, LoadRun
from loadtest.target import Target
from tests.loadtest.broken_pod import FAULTS
from tests.loadtest.pods import HISTORY_SETTINGS, SECRET, chat_settings, target, vouch_for
from tests.loadtest.workers import workers

HERE = Path(__file__).parent
PLAN = Plan(name="tiny", shape=HERE / "tiny.py", seconds=11, must_reach=("connections", "messages"))
ABRUPT_SHAPE = HERE / "abrupt.py"
SOUND = "nothing"
"""What is broken in the run whose clients are workers."""
WORKERS = 2

pytestmark = pytest.mark.timeout(600)  # the first test waits for all runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The folders of one short run for each fault, all of them at the same time: they mostly wait."""
    folder = tmp_path_factory.mktemp("load")
    folders = {run: folder / run for run in FAULTS}
    with ExitStack() as open_until, pytest.MonkeyPatch.context() as environment:
        environment.setattr("loadtest.run.GRACE_SECONDS", 400)  # four swarms share this machine
        environment.setenv("LOADTEST_TOKEN_SECRET", SECRET)
        environment.setenv("PYTHONPATH", os.fspath(ROOT))  # pods run elsewhere, and one of ours is a test module
        valkey = open_until.enter_context(run_valkey(folder))
        history = open_until.enter_context(running("history_service", folder / "history.log", HISTORY_SETTINGS))
        stores = {run: f"{valkey.url.removesuffix('/0')}/{number}" for number, run in enumerate(FAULTS)}

        def start_pod(run: str) -> ServiceProcess:
            folders[run].mkdir()
            settings = {**chat_settings(stores[run], history), "BREAK": run}
            pod = start("tests.loadtest.broken_pod", folders[run] / "chat.log", settings)
            open_until.callback(pod.stop)
            return pod

        with ThreadPoolExecutor() as side_by_side:
            pods = dict(zip(FAULTS, side_by_side.map(start_pod, FAULTS), strict=True))
        port = free_port()
        open_until.enter_context(workers(WORKERS, ABRUPT_SHAPE, port, folders[SOUND]))
        asyncio.run(
            visit_all([drive(run, folders[run], target(stores[run], pods[run], history), port) for run in FAULTS])
        )
        for pod in pods.values():
            pod.kill(signal.SIGTERM)  # they drain side by side, too
        yield folders


def drive(run: str, folder: Path, system: Target, port: int) -> LoadRun:
    if run != SOUND:
        return LoadRun(target=system, plan=PLAN, folder=folder, stop=asyncio.Event())
    return LoadRun(
        target=system, plan=replace(PLAN, shape=ABRUPT_SHAPE, seconds=21), folder=folder, stop=asyncio.Event(),
        expected_workers=WORKERS, locust_options=["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)],
    )  # fmt: skip


async def visit_all(drives: list[LoadRun]) -> None:
    for one in drives:
        await vouch_for(one.target.redis_url)
    async with asyncio.TaskGroup() as tasks:
        for one in drives:
            tasks.create_task(one.run())


def broken(folder: Path) -> dict[str, str]:
    return {v.promise: v.detail for v in judge(read_recording(folder)) if v.judgement is Judgement.BROKEN}


def test_a_sound_server_keeps_every_promise(runs: dict[str, Path]) -> None:
    verdicts = judge(read_recording(runs[SOUND]))
    assert broken(runs[SOUND]) == {}
    # Whether a client waits for long, or comes again before the end, is up to the machine; other tests judge such runs.
    assert {v.promise for v in verdicts if v.judgement is not Judgement.KEPT} <= {"order_of_arrival", "answered_once"}
    assert write_report(runs[SOUND])
    assert (runs[SOUND] / PAGE).stat().st_size > 10_000
    assert (runs[SOUND] / FIGURES).read_text().startswith('{\n "kept": true')


def test_what_the_clients_of_workers_saw_is_whole_though_the_run_ends_abruptly(runs: dict[str, Path]) -> None:
    recording = read_recording(runs[SOUND])
    assert [
        visit for visit in recording.clients.visits.values() if visit.entrance == "let_in" and not visit.ended_at
    ] == []
    assert f"{WORKERS} workers connected" in (runs[SOUND] / LOG).read_text()


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
