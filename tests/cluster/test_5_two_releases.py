"""Two releases in two namespaces share one Redis, one MongoDB and one bucket, and are apart."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.crowd import crowd
from tests.cluster.entry import Entry
from tests.cluster.images import OLD
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import CHAT_PODS, NAME, Release, tell

SECOND = "chatbot-e2e-second"
PORTS = {"chat": 30082, "history": 30083}
CLIENTS = 6
LIMIT = 3

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def both(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Release, Release]]:
    """The release of the other tests, and one of the same name in a second namespace."""
    first = release.kubectl.namespace
    kubectl = Kubectl(SECOND)
    kubectl.run("delete", "namespace", SECOND, "--ignore-not-found", "--timeout=120s")
    kubectl.run("create", "namespace", SECOND)
    second = Release(kubectl, tmp_path_factory.mktemp("second"))
    second.make_secrets()
    release.install(OLD)
    second.install(
        OLD,
        limits={"connections": LIMIT},
        redis={"existingSecret": "", "url": f"redis://valkey.{first}:6379/0"},
        mongodb={
            "existingSecret": "",
            "url": f"mongodb://mongodb.{first}:27017/?directConnection=true",
            "database": "second",
        },
        s3={"endpointUrl": f"http://swift.{first}:8080", "prefix": "second"},
        chat={"replicas": 1, "service": {"nodePort": PORTS["chat"]}},
        history={"replicas": 1, "service": {"nodePort": PORTS["history"]}},
    )
    yield release, second
    second.uninstall()
    release.uninstall()
    kubectl.run("delete", "namespace", SECOND, "--timeout=120s")


def pools(release: Release) -> list[dict[str, Any]]:
    pod = release.pods(CHAT_PODS)[0]["metadata"]["name"]
    shown: list[dict[str, Any]] = [
        json.loads(line) for line in release.kubectl.execute(pod, "permits", "show", "--json").splitlines()
    ]
    return shown


async def test_each_has_its_own_limits_and_its_own_history(both: tuple[Release, Release], entry: Entry) -> None:
    first, second = both
    address = Entry(f"ws://127.0.0.1:{PORTS['chat']}", f"http://127.0.0.1:{PORTS['history']}")
    async with (
        crowd(entry.chat, "same", CLIENTS, first.token) as here,
        crowd(address.chat, "same", CLIENTS, second.token) as there,
    ):
        await here.until(CLIENTS * 10)
        await there.until(LIMIT * 10)
        held = [{pool["pool"]: pool["held"] for pool in await asyncio.to_thread(pools, one)} for one in both]
    tell(f"two releases on one store held {held}; {here.summary()}; {there.summary()}")
    assert held[0]["connections"] == CLIENTS
    assert held[1]["connections"] == LIMIT
    assert await here.lost(entry.history) == set()
    assert await there.lost(address.history) == set()
    for crowd_of, history in ((here, entry.history), (there, address.history)):
        kept = await crowd_of.kept(history)
        assert {text.rpartition(" ")[2] for text in kept} == {crowd_of.mark}, "the clients of both have the same names"


async def test_the_end_of_one_is_nothing_to_the_other(both: tuple[Release, Release], entry: Entry) -> None:
    first, second = both
    async with crowd(entry.chat, "stays", CLIENTS, first.token) as here:
        await here.until(CLIENTS * 5)
        await asyncio.to_thread(second.uninstall)
        await here.until(here.total + CLIENTS * 5)
    assert not here.closes
    assert await here.lost(entry.history) == set()
    assert first.helm.status(NAME)["status"] == "deployed"
