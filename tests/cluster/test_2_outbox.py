"""With a persistent outbox, what was answered survives the loss of whole pods while history is away."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.crowd import Crowd, crowd
from tests.cluster.entry import Entry
from tests.cluster.images import OLD
from tests.cluster.killer import Killer
from tests.cluster.kubectl import Kubectl, is_ready, uids
from tests.cluster.release import CHAT_PODS, HISTORY_PODS, Release, tell
from tests.cluster.volumes import make_volumes, provides_volumes, remove_volumes

PODS = 2
CLIENTS = 10

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def persistent(release: Release) -> Iterator[Release]:
    """The release with chat as a StatefulSet with a volume for each pod."""
    kubectl = release.kubectl
    node = kubectl.items("nodes")[0]["metadata"]["name"]
    by_hand = not provides_volumes(kubectl)
    if by_hand:
        make_volumes(kubectl, node, PODS)
    release.install(OLD, chat={"replicas": PODS, "outbox": {"maxMiB": 64, "persistence": {"enabled": True}}})
    yield release
    release.uninstall()
    kubectl.run("delete", "persistentvolumeclaims", "--all")
    if by_hand:
        remove_volumes(kubectl, node)


async def test_a_lost_pod_loses_nothing_that_was_answered(persistent: Release, entry: Entry) -> None:
    kubectl = persistent.kubectl
    before = persistent.pods(CHAT_PODS)
    killer = Killer(kubectl, before[0]["spec"]["nodeName"])
    await asyncio.to_thread(scale_history, persistent, 0)
    async with crowd(entry.chat, "outbox", CLIENTS, persistent.token) as talking:
        await talking.until(CLIENTS * 30)
        waiting = sum(kubectl.metric(pod["metadata"]["name"], 9000, "chatbot_outbox_records") for pod in before)
        assert waiting >= CLIENTS * 30
        for pod in before:
            await asyncio.to_thread(lose, kubectl, killer, pod)
        await asyncio.to_thread(wait_for_others, persistent, before)
        await talking.until(talking.total + CLIENTS * 5)
    assert answered_before_and_after(talking)
    await asyncio.to_thread(scale_history, persistent, 2)
    missing = await talking.lost(entry.history)
    tell(f"{waiting:.0f} exchanges were only in the outboxes of two pods that were lost; {talking.summary()}")
    assert missing == set()
    after = persistent.pods(CHAT_PODS)
    left = sum(kubectl.metric(pod["metadata"]["name"], 9000, "chatbot_outbox_records") for pod in after)
    assert left == 0


async def test_an_uninstall_while_clients_talk_loses_nothing(persistent: Release, entry: Entry) -> None:
    async with crowd(entry.chat, "uninstall", CLIENTS, persistent.token) as talking:
        await talking.until(CLIENTS * 20)
        await asyncio.to_thread(persistent.uninstall)
    tell(f"helm uninstall of a StatefulSet while clients talk: {talking.summary()}")
    persistent.kubectl.run("delete", "persistentvolumeclaims", "--all")  # as the documentation says
    await asyncio.to_thread(persistent.install, OLD)
    assert await talking.lost(entry.history) == set()


def answered_before_and_after(talking: Crowd) -> bool:
    return bool(talking.closes) and not talking.errors


def lose(kubectl: Kubectl, killer: Killer, pod: dict[str, Any]) -> None:
    """Kill the processes of a pod, and have the pod itself removed before its container comes back."""
    killer.kill(pod, "chat_service")
    kubectl.run("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")


def wait_for_others(release: Release, before: list[dict[str, Any]]) -> None:
    def others() -> bool:
        pods = release.pods(CHAT_PODS)
        return len(pods) == PODS and all(map(is_ready, pods)) and not uids(pods) & uids(before)

    release.kubectl.wait_for(others, "new pods in place of the lost ones")


def scale_history(release: Release, replicas: int) -> None:
    release.kubectl.run("scale", "deployment", "chatbot-history", f"--replicas={replicas}")

    def scaled() -> bool:
        pods = release.pods(HISTORY_PODS)
        return len(pods) == replicas and all(map(is_ready, pods))

    release.kubectl.wait_for(scaled, f"history to have {replicas} pods")
