"""Runs by hand: with Locust's page, where Ctrl-C writes the report, and with Locust by itself."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from devtools.ports import free_port
from devtools.processes import running
from devtools.servers import ROOT
from devtools.valkey import run_valkey
from loadtest.recording import read_recording
from loadtest.report.write import FIGURES, PAGE
from loadtest.target import Target
from tests.loadtest.pods import HISTORY_SETTINGS, LIMITS, SECRET, chat_settings, target, vouch_for

PATIENCE_SECONDS = 60.0
TICK_SECONDS = 0.1


@dataclass
class Page:
    """Locust's page, and the command that serves it."""

    command: "subprocess.Popen[str]"
    http: httpx2.Client

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._holds(condition):
            assert self.command.poll() is None, f"it ended before {what}"
            assert time.monotonic() < deadline, what
            time.sleep(TICK_SECONDS)

    def _holds(self, condition: Callable[[], bool]) -> bool:
        try:
            return condition()
        except httpx2.TransportError:  # it is not there yet
            return False

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/stats/requests").raise_for_status().json()
        return found

    def count(self, what: str) -> int:
        return sum(row["num_requests"] for row in self.stats()["stats"] if row["method"] == what)

    def start_swarm(self, users: int, chat: str) -> None:
        started = self.http.post("/swarm", data={"user_count": str(users), "spawn_rate": str(users), "host": chat})
        assert started.json()["success"], started.text

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C, and return how it ended and what it said."""
        os.killpg(self.command.pid, signal.SIGINT)
        said, _ = self.command.communicate(timeout=PATIENCE_SECONDS)
        return self.command.returncode, said


@contextmanager
def page(system: Target, folder: Path) -> Iterator[Page]:
    port = free_port()
    line = [sys.executable, "-m", "loadtest", "ui", "--web-port", str(port), "--folder", str(folder)]
    line += ["--chat", *system.chat, "--history", system.history, "--redis", system.redis_url]
    line += [word for name, url in system.metrics.items() for word in ("--metrics", f"{name}={url}")]
    line += ["--connections", str(LIMITS.connections), "--messages", str(LIMITS.messages)]
    line += ["--window", str(LIMITS.window), "--connect-wait", str(LIMITS.connect_wait_seconds)]
    command = subprocess.Popen(
        line, cwd=ROOT, env={**os.environ, "LOADTEST_TOKEN_SECRET": SECRET}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, process_group=0,
    )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http:
            opened = Page(command, http)
            opened.wait_for(lambda: opened.stats()["state"] == "ready", "the page")
            yield opened
    finally:
        if command.poll() is None:
            command.terminate()  # it ends Locust, too
        command.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("system")
    with (
        run_valkey(folder) as valkey,
        running("history_service", folder / "history.log", HISTORY_SETTINGS) as history,
        running("chat_service", folder / "chat.log", chat_settings(valkey.url, history)) as chat,
    ):
        asyncio.run(vouch_for(valkey.url))
        yield target(valkey.url, chat, history)


def test_swarms_of_the_page_one_stopped_and_one_still_there_are_judged_after_ctrl_c(
    system: Target, tmp_path: Path
) -> None:
    with page(system, tmp_path / "run") as opened:
        opened.start_swarm(users=4, chat=system.chat[0])
        opened.wait_for(lambda: opened.count("exchange") >= 10, "ten answers")
        opened.http.post("/stop").raise_for_status()
        opened.wait_for(lambda: opened.stats()["state"] == "stopped", "everybody to leave")
        opened.start_swarm(users=3, chat=system.chat[0])
        opened.wait_for(lambda: opened.stats()["state"] == "running" and opened.count("exchange") >= 1, "an answer")
        code, said = opened.interrupt()
    assert code == 0, said
    assert "all promises kept" in said
    visits = read_recording(tmp_path / "run").clients.visits.values()
    assert len({visit.client for visit in visits}) == 7
    assert [visit for visit in visits if visit.entrance == "let_in" and visit.ended_at is None] == []
    figures = json.loads((tmp_path / "run" / FIGURES).read_text())
    assert figures["kept"] is True
    assert figures["run"]["troubles"] == []
    assert (tmp_path / "run" / PAGE).stat().st_size > 10_000


def test_a_run_without_a_client_has_proved_nothing(system: Target, tmp_path: Path) -> None:
    with page(system, tmp_path / "run") as opened:
        code, said = opened.interrupt()
    assert code == 1
    assert "no client ever came" in said
    assert (tmp_path / "run" / PAGE).exists()


def test_locust_by_itself_visits_a_system_and_fails_nobody(system: Target) -> None:
    line = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--host", system.chat[0]]
    line += ["--headless", "--users", "4", "--spawn-rate", "4", "--run-time", "2s", "--only-summary"]
    ended = subprocess.run(
        line, cwd=ROOT, env={**os.environ, "LOADTEST_TOKEN_SECRET": SECRET}, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (answered,) = re.findall(r"^exchange +text +(\d+) +0\(0\.00%\)", ended.stdout + ended.stderr, re.MULTILINE)
    assert int(answered) > 0
