"""A live release changes its shape, in the orders that UPGRADING.md gives, and its number of pods under load."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.crowd import crowd
from tests.cluster.entry import Entry
from tests.cluster.images import OLD
from tests.cluster.kubectl import is_ready
from tests.cluster.release import CHAT_PODS, NAME, Release, tell
from tests.cluster.volumes import make_volumes, provides_volumes, remove_volumes

CLIENTS = 10
PODS = 2
PERSISTENT = {"outbox": {"maxMiB": 64, "persistence": {"enabled": True}}}
UPGRADING = (Path(__file__).parents[2] / "UPGRADING.md").read_text()

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def live(release: Release) -> Iterator[Release]:
    """A release with two pods of each, and volumes for what becomes of it."""
    kubectl = release.kubectl
    node = kubectl.items("nodes")[0]["metadata"]["name"]
    by_hand = not provides_volumes(kubectl)
    if by_hand:
        make_volumes(kubectl, node, PODS)
    release.install(OLD)
    yield release
    release.uninstall()
    kubectl.run("delete", "persistentvolumeclaims", "--all")
    if by_hand:
        remove_volumes(kubectl, node)


def ready_chats(release: Release) -> int:
    return sum(map(is_ready, release.pods(CHAT_PODS)))


def wait_for_chats(release: Release, count: int) -> None:
    release.kubectl.wait_for(
        lambda: ready_chats(release) == count and len(release.pods(CHAT_PODS)) == count, f"{count} chat pods"
    )


def by_the_book(release: Release, start: str) -> None:
    """Run the one command of UPGRADING.md that begins so."""
    (command,) = re.findall(rf"`kubectl ({re.escape(start)}[^`]*)`", UPGRADING)
    words = command.replace("--namespace chatbot", "").split()
    release.kubectl.run(*words)


async def test_pods_come_and_go_under_load_and_nothing_is_lost(live: Release, entry: Entry) -> None:
    counts = [4, 1, 3, PODS]
    async with crowd(entry.chat, "scale", CLIENTS, live.token) as talking:
        await talking.until(CLIENTS * 5)
        for count in counts:
            await asyncio.to_thread(live.kubectl.run, "scale", f"deployment/{NAME}-chat", f"--replicas={count}")
            await asyncio.to_thread(wait_for_chats, live, count)
            await talking.until(talking.total + CLIENTS * 5)
    tell(f"scaled to {counts} under load: {talking.summary()}")
    assert set(talking.closes) <= {1012}
    assert await talking.lost(entry.history) == set()


def test_a_number_that_another_hand_has_set_stays_when_the_chart_leaves_it_out(live: Release) -> None:
    (handed_over,) = re.findall(r"--filename - <<END\n\s*(.*)\n\s*END", UPGRADING)
    options = ("--server-side", "--validate=false", "--field-manager=handover")
    live.kubectl.run("apply", *options, "--filename", "-", stdin=handed_over)
    live.upgrade(OLD, chat={"replicas": None})
    assert live.kubectl.get("deployment", f"{NAME}-chat")["spec"]["replicas"] == PODS
    wait_for_chats(live, PODS)
    live.upgrade(OLD, chat={"replicas": PODS})


async def test_a_deployment_becomes_a_stateful_set_without_a_gap(live: Release, entry: Entry) -> None:
    async with crowd(entry.chat, "shape", CLIENTS, live.token) as talking:
        await talking.until(CLIENTS * 5)
        watching = asyncio.create_task(fewest_ready(live))
        await asyncio.to_thread(by_the_book, live, "annotate deployment")
        await asyncio.to_thread(live.upgrade, OLD, chat=PERSISTENT)
        assert ready_chats(live) == 2 * PODS
        await asyncio.to_thread(by_the_book, live, "delete deployment")
        await asyncio.to_thread(wait_for_chats, live, PODS)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await watching >= PODS
        await talking.until(talking.total + CLIENTS * 5)
    tell(f"a Deployment became a StatefulSet: {talking.summary()}")
    assert set(talking.closes) <= {1012}
    assert await talking.lost(entry.history) == set()
    assert live.kubectl.get("statefulset", f"{NAME}-chat")["status"]["readyReplicas"] == PODS


async def fewest_ready(release: Release) -> int:
    """Return when there are fewer chat pods than there should always be, and how many; or when cancelled."""
    while True:
        found = await asyncio.to_thread(ready_chats, release)
        if found < PODS:
            return found
        await asyncio.sleep(1)
