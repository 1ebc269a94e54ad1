"""The swarm of charts/loadtest visits the release from within the cluster, and its judge finds every promise kept."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.criteria import RunLimits
from loadtest.report.write import FIGURES, PAGE
from tests.charts.release import CHARTS
from tests.cluster.images import LOADTEST, OLD
from tests.cluster.release import Release, tell

SWARM = "load"
JUDGE = f"{SWARM}-loadtest-judge"
PARTS = ("judge", "worker")
WORKERS = 2
LIMITS = RunLimits(window=20, lease_seconds=10)
TYPING_SECONDS = 8
SWARM_SECONDS = 300.0
KEEP_SECONDS = 30

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def visited(release: Release) -> Iterator[Release]:
    """The release with the limits that it has by default, and a bot that takes its time."""
    settings = {
        "CHAT_WINDOW": LIMITS.window,
        "CHAT_BOT_TYPING_SECONDS": TYPING_SECONDS,
        "CHAT_MESSAGE_WAIT_SECONDS": 60,
    }
    release.install(OLD, chat={"settings": settings})
    yield release
    release.uninstall()


@pytest.fixture
def swarm(visited: Release) -> Iterator[None]:
    """One run of the swarm, begun."""
    visited.helm.install(visited.chart(CHARTS / "loadtest"), SWARM, values(), timeout=60)
    yield
    visited.helm.uninstall(SWARM, timeout=60)


def values() -> dict[str, Any]:
    """Return the values of the swarm, as docs/load-testing.md says."""
    return {
        "image": {"repository": LOADTEST.repository, "tag": OLD},
        "workers": WORKERS,
        "target": {
            "chat": "ws://chatbot-chat:8000",
            "history": "http://chatbot-history:8001",
            "metrics": [
                "chat=http://chatbot-chat-pods:9000/metrics",
                "history=http://chatbot-history-pods:9001/metrics",
            ],
            "redis": {"existingSecret": "chatbot-redis"},
        },
        "limits": {
            "connections": LIMITS.connections,
            "messages": LIMITS.messages,
            "window": LIMITS.window,
            "leaseSeconds": LIMITS.lease_seconds,
        },
        "auth": {"existingSecret": "chatbot-auth"},
        "report": {"keepSeconds": KEEP_SECONDS},
        # By default all of it asks for 1.95 CPUs: a node that has two takes it only when nothing else is there.
        "judge": {"resources": {"requests": {"cpu": "50m"}}},
        "worker": {"resources": {"requests": {"cpu": "50m"}}},
    }


@pytest.mark.usefixtures("swarm")
def test_a_swarm_in_the_cluster_reaches_both_limits_and_finds_every_promise_kept(
    visited: Release, tmp_path: Path
) -> None:
    kubectl, begin = visited.kubectl, time.monotonic()

    def log() -> str:
        return kubectl.run("logs", f"job/{JUDGE}", "--tail=-1")

    def ended(part: str) -> dict[str, Any]:
        conditions = kubectl.get("job", f"{SWARM}-loadtest-{part}")["status"].get("conditions", [])
        return {found["type"]: found["status"] for found in conditions}

    kubectl.wait_for(lambda: bool(kubectl.get("job", JUDGE)["status"].get("active")), "the judge to begin")
    (pod,) = kubectl.items("pods", "--selector", f"job-name={JUDGE}")
    kubectl.wait_for(
        lambda: kubectl.get("pod", pod["metadata"]["name"])["status"]["phase"] == "Running", "the judge to run"
    )
    kubectl.wait_for(lambda: "so that /report/run can be fetched" in log(), "the verdicts", SWARM_SECONDS)
    kubectl.run("cp", f"{pod['metadata']['name']}:/report/run", str(tmp_path / "report"))
    took = time.monotonic() - begin
    figures = json.loads((tmp_path / "report" / FIGURES).read_text())
    tell(f"the swarm and its verdicts took {took:.0f} s:\n{log()}")
    assert [verdict for verdict in figures["verdicts"] if verdict["judgement"] != "kept"] == []
    assert figures["high_water"] == {"connections": LIMITS.connections, "messages": LIMITS.messages}
    assert (tmp_path / "report" / PAGE).stat().st_size > 10_000
    kubectl.wait_for(lambda: all(map(ended, PARTS)), "the Jobs to end")
    assert [ended(part) for part in PARTS] == [{"Complete": "True"}] * len(PARTS)
