"""A whole pod: its stores, its probes, its metrics, and what it says to requests it does not know."""

import asyncio
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from devtools.processes import running
from history_service.app import open_history
from history_service.blobs.base import BlobsUnavailable
from history_service.settings import HistorySettings
from history_service.stores.base import StoreUnavailable, StoreUnusable
from tests.history.pod import Pod, check_problem, open_pod, rich_exchange
from tests.support.exchanges import SESSION


async def test_a_pod_keeps_what_it_has_over_a_restart(tmp_path: Path) -> None:
    kept = rich_exchange()
    async with open_pod(tmp_path) as pod:
        await pod.ingest(kept)
        before = await pod.json(f"/v1/sessions/{SESSION}/messages")
    async with open_pod(tmp_path) as pod:
        assert await pod.json(f"/v1/sessions/{SESSION}/messages") == before
        assert (await pod.http.get(f"/v1/messages/{kept.id}.request/media/video")).content == kept.request[1:]
        assert await pod.ingest(kept) == ["duplicate"]


@pytest.mark.parametrize("failure", [StoreUnavailable, StoreUnusable, RuntimeError])
async def test_a_pod_starts_without_the_message_store_and_finds_it_later(
    tmp_path: Path, failure: type[Exception]
) -> None:
    async with open_pod(tmp_path, store_failure=failure) as pod:
        answer = await pod.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "not_ready", "checks": {"stores": "not yet"}}
        assert (await pod.http.get("/healthz")).status_code == 200
        pod.store.failure = None
        await pod.wait_until_ready()
        assert await pod.ingest(rich_exchange()) == ["stored"]


async def test_a_pod_starts_without_the_media_store_and_finds_it_later(tmp_path: Path) -> None:
    async with open_pod(tmp_path, blobs_failure=BlobsUnavailable) as pod:
        assert (await pod.http.get("/readyz")).status_code == 503
        pod.blobs.failure = None
        await pod.wait_until_ready()
        assert await pod.ingest(rich_exchange()) == ["stored"]


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        pytest.param({}, "HISTORY_DATA_DIR", id="a folder that cannot be"),
        pytest.param(
            {"mongodb_url": "mongodb://127.0.0.1:1/", "store_seconds": 0.1}, "HISTORY_MONGODB_URL", id="no MongoDB"
        ),
    ],
)
async def test_the_log_names_the_setting_of_the_store_that_is_not_reached(
    tmp_path: Path, given: dict[str, Any], setting: str
) -> None:
    (tmp_path / "file").touch()
    settings = HistorySettings(data_dir=tmp_path / "file" / "data", **given)
    with capture_logs() as logs:
        async with open_history(settings), asyncio.timeout(60):
            while not (told := [entry for entry in logs if entry["event"] == "stores.not_ready"]):  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.01)
    assert told[0]["setting"] == setting


async def test_before_the_store_is_open_requests_are_answered_by_come_again(tmp_path: Path) -> None:
    async with open_pod(tmp_path, store_failure=StoreUnavailable) as pod:
        pod.store.failure = None
        check_problem(await pod.http.get(f"/v1/sessions/{SESSION}"), 503, "store_unavailable")
        check_problem(await pod.post(rich_exchange()), 503, "store_unavailable")


async def test_a_pod_that_had_its_stores_once_stays_ready_without_them(pod: Pod) -> None:
    pod.store.failure, pod.blobs.failure = StoreUnavailable, BlobsUnavailable
    answer = await pod.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"stores": "ok"}})


async def test_a_pod_that_drains_is_not_ready_and_still_answers(pod: Pod) -> None:
    assert await pod.history.drain()
    answer = await pod.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    alive = (await pod.http.get("/healthz")).json()
    assert (alive["status"], alive["version"]) == ("alive", metadata.version("chatbot-history"))
    assert await pod.ingest(rich_exchange()) == ["stored"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/exchanges",
        "/v1/exchanges/",
        f"/v1/sessions/{SESSION}/",
        f"/v1/sessions/{SESSION}/messages/1",
        "/v1/clients/anna%2Fben/sessions",
        "/metrics",
        "/v1/docs",
    ],
)
async def test_a_path_that_is_not_there(pod: Pod, path: str) -> None:
    assert check_problem(await pod.http.get(path), 404, "not_found")["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/exchanges", "POST"),
        ("PUT", "/v1/exchanges", "POST"),
        ("PUT", "/v1/clients/anna/sessions", "GET, HEAD, POST"),
        ("PUT", f"/v1/sessions/{SESSION}", "DELETE, GET, HEAD, PATCH"),
        ("PATCH", f"/v1/sessions/{SESSION}/messages", "GET, HEAD"),
        ("POST", f"/v1/messages/{SESSION}.reply", "DELETE, GET, HEAD"),
        ("GET", "/v1/clients/anna", "DELETE"),
        ("PUT", f"/v1/messages/{SESSION}.reply/media/voice", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_has_not(pod: Pod, method: str, path: str, allowed: str) -> None:
    answer = await pod.http.request(method, path)
    check_problem(answer, 405, "method_not_allowed")
    assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")


async def test_the_unforeseen_is_a_bare_500(pod: Pod) -> None:
    pod.store.failure = RuntimeError
    answer = await pod.http.get(f"/v1/sessions/{SESSION}")
    check_problem(answer, 500, "internal")
    assert "secret" not in answer.text


async def test_requests_are_counted_by_route_and_name_nobody(pod: Pod) -> None:
    await pod.ingest(rich_exchange())
    await pod.http.get("/v1/clients/anna/sessions")
    await pod.http.get("/v1/sessions/anna")
    await pod.http.get("/nowhere/anna")
    for labels in (
        'method="POST",route="/v1/exchanges",status="200"',
        'method="GET",route="/v1/clients/{client}/sessions",status="200"',
        'method="GET",route="/v1/sessions/{session}",status="400"',
        'method="GET",route="none",status="404"',
    ):
        assert await pod.metric(f"chatbot_history_request_seconds_count{{{labels}}}") == 1
    assert await pod.metric("chatbot_history_batch_bytes_count") == 1
    assert "anna" not in (await pod.metrics.get("/metrics")).text


def test_a_process_serves_metrics_on_a_port_of_their_own_and_ends_in_good_order(tmp_path: Path) -> None:
    settings = {"HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0, "HISTORY_DATA_DIR": tmp_path / "data"}
    with running("history_service", tmp_path / "history.log", settings) as service:
        api, metrics = (f"http://127.0.0.1:{service.ports[name]}" for name in ("history", "history-metrics"))
        assert httpx2.get(f"{api}/healthz").json()["status"] == "alive"
        check_problem(httpx2.get(f"{api}/metrics"), 404, "not_found")
        check_problem(httpx2.get(f"{metrics}/healthz"), 404, "not_found")
        assert "chatbot_history_request_seconds_count" in httpx2.get(f"{metrics}/metrics").text
        assert service.stop() == 0


def test_a_port_that_is_taken_is_told_with_the_variable_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = subprocess.run(
            [sys.executable, "-m", "history_service"],
            env={"HISTORY_PORT": str(taken.getsockname()[1]), "HISTORY_METRICS_PORT": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert "set HISTORY_PORT" in ended.stderr
