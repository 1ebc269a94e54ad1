"""Alive and ready: two questions with two answers."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from servicekit.health import Check, CheckResult, Health
from tests.servicekit.conftest import Serving

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def yes() -> bool:
    return True


async def broken() -> bool:
    raise OSError("mongodb://anna:hunter2@db is down")


async def silent() -> bool:
    await asyncio.Event().wait()
    return True


@pytest.fixture
def health() -> Health:
    return Health("1.2.3")


async def asked(
    serving: Serving, http: aiohttp.ClientSession, health: Health, path: str
) -> tuple[int, dict[str, object]]:
    """What a probe is told."""
    async with serving(Starlette(routes=health.routes())) as url, http.get(url + path) as response:
        assert response.headers["cache-control"] == "no-store"
        return response.status, await response.json()


async def test_alive_tells_version_and_uptime(serving: Serving, http: aiohttp.ClientSession) -> None:
    moments: Iterator[datetime] = iter([NOON, NOON + timedelta(seconds=90)])
    status, told = await asked(serving, http, Health("1.2.3", now=lambda: next(moments)), "/healthz")
    assert (status, told) == (200, {"status": "alive", "version": "1.2.3", "uptime_seconds": 90.0})


async def test_without_checks_a_process_is_ready(serving: Serving, http: aiohttp.ClientSession, health: Health) -> None:
    assert await asked(serving, http, health, "/readyz") == (200, {"status": "ready", "checks": {}})


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        pytest.param(lambda: False, "not yet", id="no"),
        pytest.param(broken, "OSError", id="an exception, by its kind only"),
        pytest.param(lambda: 1 // 0, "ZeroDivisionError", id="an exception at once"),
        pytest.param(silent, "no answer within 0.01 s", id="no answer"),
    ],
)
async def test_one_check_that_fails_makes_a_process_not_ready_and_no_less_alive(
    serving: Serving, http: aiohttp.ClientSession, health: Health, check: Check, reason: str
) -> None:
    health.register("disk", lambda: True)
    health.register("network", yes)
    health.register("store", check, timeout_seconds=0.01)
    status, told = await asked(serving, http, health, "/readyz")
    assert (status, told["status"]) == (503, "not_ready")
    assert told["checks"] == {"disk": "ok", "network": "ok", "store": reason}
    assert (await asked(serving, http, health, "/healthz"))[0] == 200


async def test_a_reason_that_passes_says_for_how_much_longer_and_is_news_once(
    serving: Serving, http: aiohttp.ClientSession, health: Health
) -> None:
    left = iter([11.2, 3.0])
    health.register("limits", lambda: CheckResult(ok=True, reason="limits_learning", left_seconds=next(left)))
    with capture_logs() as logs:
        for told in ("limits_learning, 12 s left", "limits_learning, 3 s left"):
            assert (await asked(serving, http, health, "/readyz"))[1]["checks"] == {"limits": told}
    assert [(entry["reason"], entry["left_seconds"]) for entry in logs if "check" in entry] == [("limits_learning", 12)]


async def test_a_process_becomes_ready_when_its_checks_pass(
    serving: Serving, http: aiohttp.ClientSession, health: Health
) -> None:
    prepared = asyncio.Event()
    health.register("store", prepared.is_set)
    assert (await asked(serving, http, health, "/readyz"))[0] == 503
    prepared.set()
    assert (await asked(serving, http, health, "/readyz"))[0] == 200


async def test_draining_is_not_ready_for_good_whatever_the_checks_say(
    serving: Serving, http: aiohttp.ClientSession, health: Health
) -> None:
    health.register("store", yes)
    health.start_draining()
    health.start_draining()
    assert health.draining
    told = {"status": "draining", "checks": {"store": "ok"}}
    assert await asked(serving, http, health, "/readyz") == (503, told)
    assert (await asked(serving, http, health, "/healthz"))[0] == 200


@pytest.mark.looptime
async def test_checks_are_asked_side_by_side(health: Health) -> None:
    for name in "abc":
        health.register(name, silent, timeout_seconds=2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await health.verdicts() == dict.fromkeys("abc", CheckResult(ok=False, reason="no answer within 2 s"))
    assert loop.time() - began == pytest.approx(2, abs=0.1)


async def test_only_changes_are_logged(health: Health) -> None:
    answers = iter([True, False, False, True, True])
    health.register("store", lambda: next(answers))
    with capture_logs() as logs:
        for _ in range(5):
            await health.verdicts()
    assert [(entry["check"], entry["ok"], entry["reason"]) for entry in logs] == [
        ("store", False, "not yet"),
        ("store", True, ""),
    ]


def test_a_name_is_taken_once(health: Health) -> None:
    health.register("store", yes)
    with pytest.raises(ValueError, match="named store already"):
        health.register("store", yes)
