"""The life of a release, in the order of this file: install, talk, upgrade, kill, fail to upgrade, uninstall."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
import pytest

from tests.client.command import COMMAND, environment
from tests.cluster.crowd import crowd
from tests.cluster.entry import Entry
from tests.cluster.images import NEW, OLD
from tests.cluster.killer import Killer
from tests.cluster.kubectl import Kubectl, is_ready, uids
from tests.cluster.release import CHAT_PODS, HISTORY_PODS, NAME, Release, tell
from tests.e2e.talking import SAMPLES

LEASE_SECONDS = 10  # as in values.yaml
CLIENTS = 20
ANY_ID = 1_000_660_000

pytestmark = pytest.mark.timeout(900)


def restarts(pods: list[dict[str, Any]]) -> int:
    return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])


def test_a_secret_that_is_missing_is_told_before_anything_is_made(release: Release) -> None:
    values = release.values(OLD, {"redis": {"existingSecret": "nowhere"}})
    with pytest.raises(
        helm_python.HelmError, match=r"the Secret nowhere \(redis.existingSecret\) is not in the namespace"
    ):
        release.helm.install(release.chart(), NAME, values, timeout=60)
    assert release.pods(CHAT_PODS) == []


def test_it_installs_and_every_pod_is_ready(release: Release) -> None:
    begin = time.monotonic()
    release.install(OLD)
    tell(f"helm install --wait: {time.monotonic() - begin:.1f} s")
    for component in (CHAT_PODS, HISTORY_PODS):
        pods = release.pods(component)
        assert len(pods) == 2
        assert all(is_ready(pod) for pod in pods)
        assert restarts(pods) == 0


def test_its_own_tests_pass(release: Release) -> None:
    tests = release.helm.test(NAME, timeout=120, logs=True)
    tell(f"helm test:\n{tests['logs']}")
    hooks = release.helm.get_all(NAME)["hooks"]
    ran = [hook for hook in hooks if "test" in hook["events"]]
    assert len(ran) >= 3


def test_text_voice_and_video_are_answered_and_read_back(entry: Entry, tmp_path: Path, release: Release) -> None:
    secret = tmp_path / "token"
    secret.write_text(release.token("anna"))

    def client(*arguments: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [*COMMAND, *arguments, "--client-id", "anna", "--json"],
            env=environment(CHAT_TOKEN_FILE=str(secret), CHAT_HISTORY_URL=entry.history),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (text,) = client("send", "text", entry.chat, "say good luck")
    (voice,) = client("send", "voice", entry.chat, str(SAMPLES / "hello.mp3"))
    (video,) = client("send", "video", entry.chat, str(SAMPLES / "hello.mp4"))
    assert text["text"] == "good luck"
    assert (tmp_path / voice["voice"]).stat().st_size > 1000
    assert (tmp_path / video["image"]).read_bytes().startswith(b"\xff\xd8")

    def all_there() -> bool:
        return len(client("sessions")) == 3

    release.kubectl.wait_for(all_there, "three sessions in history")
    (latest, *_) = client("sessions")
    read_back = client("history", "--session", latest["id"], "--save-to", str(tmp_path / "again"))
    assert [message["direction"] for message in read_back] == ["request", "reply"]
    saved = {path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert (SAMPLES / "hello.mp4").read_bytes() in saved
    assert (tmp_path / video["image"]).read_bytes() in saved


def test_it_is_reached_by_the_commands_of_its_notes(tmp_path: Path, release: Release) -> None:
    secret = tmp_path / "token"
    secret.write_text(release.token("bea"))
    with (
        forwarded(release.kubectl, "chatbot-chat", 8000) as chat,
        forwarded(release.kubectl, "chatbot-history", 8001) as history,
    ):
        words = (*COMMAND, "send", "text", f"ws://{chat}", "say well done", "--client-id", "bea", "--json")
        done = subprocess.run(
            words,
            env=environment(CHAT_TOKEN_FILE=str(secret), CHAT_HISTORY_URL=f"http://{history}"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "well done"


@contextmanager
def forwarded(kubectl: Kubectl, service: str, port: int) -> Iterator[str]:
    """Forward a port of this machine to a Service, as long as the `with` block lasts; yield HOST:PORT."""
    program = shlex.split(os.environ.get("KUBECTL", "kubectl"))
    words = [*program, "--namespace", kubectl.namespace, "port-forward", f"service/{service}", f":{port}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            line = forwarding.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8000
            found = re.match(r"Forwarding from (127\.0\.0\.1:\d+) ", line)
            assert found, line
            yield found[1]
        finally:
            forwarding.terminate()


async def test_an_upgrade_under_load_closes_with_1012_only_and_loses_nothing(release: Release, entry: Entry) -> None:
    before = uids(release.pods(CHAT_PODS)) | uids(release.pods(HISTORY_PODS))
    async with crowd(entry.chat, "upgrade", CLIENTS, release.token) as talking:
        await talking.until(CLIENTS * 10)
        begin = time.monotonic()
        await asyncio.to_thread(release.upgrade, NEW)
        took = time.monotonic() - begin
        await asyncio.to_thread(wait_until_gone, release, before)
        drained = time.monotonic() - begin
        await talking.until(talking.total + CLIENTS * 10)
    tell(f"helm upgrade --wait: {took:.1f} s, the last old pod gone after {drained:.1f} s; {talking.summary()}")
    assert set(talking.closes) == {1012}
    assert not talking.unreachable
    assert await talking.lost(entry.history) == set()
    kept = await talking.kept(entry.history)
    assert [text for text in talking.unanswered if kept[text]] == [], "each reply that was kept has reached its client"


async def test_a_killed_pod_gives_its_permits_back_and_loses_nothing(release: Release, entry: Entry) -> None:
    kubectl = release.kubectl
    victim, witness = release.pods(CHAT_PODS)
    killer = Killer(kubectl, victim["spec"]["nodeName"])
    async with crowd(entry.chat, "kill", CLIENTS, release.token) as talking:
        await talking.until(CLIENTS * 5)
        dead = [pod for pod in holders(kubectl, witness) if pod["name"].startswith(victim["metadata"]["name"])]
        assert sum(pod["held"] for pod in dead) > 0
        killed = await asyncio.to_thread(killer.kill, victim, "chat_service")
        gone = {pod["name"] for pod in dead}

        def given_back() -> bool:
            return not any(pod["held"] for pod in holders(kubectl, witness) if pod["name"] in gone)

        await asyncio.to_thread(kubectl.wait_for, given_back, "the permits of the dead to be free")
        took = time.monotonic() - killed
        kubectl.wait_for(lambda: all(map(is_ready, release.pods(CHAT_PODS))), "the container to be started anew")
        await talking.until(talking.total + CLIENTS * 5)
    held = sum(pod["held"] for pod in dead)
    tell(f"{held} permits of a killed pod were back after {took:.1f} s; {talking.summary()}")
    assert took <= 1.5 * LEASE_SECONDS
    assert set(talking.closes) <= {1006}
    assert await talking.lost(entry.history) == set()


def wait_until_gone(release: Release, pods: set[str]) -> None:
    def gone() -> bool:
        return not pods & (uids(release.pods(CHAT_PODS)) | uids(release.pods(HISTORY_PODS)))

    release.kubectl.wait_for(gone, "every pod to be replaced")


def holders(kubectl: Kubectl, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the pods that hold connection permits, as an operator sees them."""
    shown = kubectl.execute(pod["metadata"]["name"], "permits", "show", "connections", "--json")
    pods: list[dict[str, Any]] = json.loads(shown)["pods"]
    return pods


async def test_a_bad_image_is_rolled_back_and_nobody_notices(release: Release, entry: Entry) -> None:
    before = uids(release.pods(CHAT_PODS))
    async with crowd(entry.chat, "rollback", CLIENTS, release.token) as talking:
        await talking.until(CLIENTS)
        with pytest.raises(helm_python.HelmError):
            await asyncio.to_thread(release.upgrade, "no-such-image", seconds=30, rollback=True)
        await talking.until(talking.total + CLIENTS)
    tell(f"a bad image: {talking.summary()}")
    release.kubectl.wait_for(lambda: uids(release.pods(CHAT_PODS)) == before, "the failed pods to be gone")
    status = release.helm.status(NAME)
    assert status["status"] == "deployed"
    assert "no-such-image" not in json.dumps(status)
    assert (talking.closes, talking.unreachable, talking.errors) == ({}, [], {})


async def test_an_uninstall_while_clients_talk_loses_nothing(release: Release, entry: Entry) -> None:
    async with crowd(entry.chat, "uninstall", CLIENTS, release.token) as talking:
        await talking.until(CLIENTS * 20)
        begin = time.monotonic()
        await asyncio.to_thread(release.uninstall)
        took = time.monotonic() - begin
    tell(f"helm uninstall --wait while clients talk: {took:.1f} s; {talking.summary()}")
    assert set(talking.closes) == {1012}
    leaves_nothing(release)
    # The stores are as they were: see what history has. And pods run under any id, as OpenShift gives them one.
    ids = {"podSecurityContext": {"runAsUser": ANY_ID, "runAsGroup": 0, "fsGroup": ANY_ID}}
    await asyncio.to_thread(release.install, OLD, chat=ids, history=ids)
    assert await talking.lost(entry.history) == set()
    release.helm.test(NAME, timeout=120)
    release.uninstall()
    leaves_nothing(release)


def leaves_nothing(release: Release) -> None:
    kinds = release.kubectl.run("api-resources", "--verbs", "list,delete", "--namespaced", "--output", "name").split()

    def left() -> list[dict[str, Any]]:
        mine = f"app.kubernetes.io/instance={NAME}"
        return release.kubectl.items(",".join(sorted(kinds)), "--selector", mine)

    release.kubectl.wait_for(lambda: left() == [], "everything of the release to be gone")
    secrets = release.kubectl.items("secrets")
    assert not [secret for secret in secrets if secret["type"] == "helm.sh/release.v1"]
