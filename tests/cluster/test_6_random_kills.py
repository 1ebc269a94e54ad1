"""For three minutes pods and stores are killed at random while clients talk; history has everything answered, once."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster.crowd import crowd
from tests.cluster.entry import Entry
from tests.cluster.images import OLD
from tests.cluster.killer import Killer
from tests.cluster.kubectl import is_ready
from tests.cluster.release import CHAT_PODS, HISTORY_PODS, Release, tell

SECONDS: Final = float(os.environ.get("CHATBOT_E2E_KILL_SECONDS", "180"))
SEED: Final = int(os.environ.get("CHATBOT_E2E_SEED", str(time.time_ns() % 1_000_000)))
PAUSE_SECONDS: Final = (4.0, 12.0)
CLIENTS: Final = 15
AGAIN_SECONDS: Final = 330.0  # a container that was killed often is started again after five minutes at most
STORES: Final = {"valkey": "valkey-server", "mongodb": "mongod", "swift": "tests.cluster.stores"}
"""What is killed of each store: processes whose command line holds this."""
EXPLAINED: Final = {1006, 1011, 1012, 1013}

pytestmark = pytest.mark.timeout(SECONDS + 1200)


@pytest.fixture
def released(release: Release) -> Iterator[Release]:
    release.install(OLD)
    yield release
    release.uninstall()


def targets(release: Release) -> list[tuple[dict[str, Any], str]]:
    """Return all that may be killed: a pod, and the word by which its processes are found."""
    found = [(pod, "chat_service") for pod in release.pods(CHAT_PODS)]
    found += [(pod, "history_service") for pod in release.pods(HISTORY_PODS)]
    found += [(release.kubectl.get("pod", name), word) for name, word in STORES.items()]
    return [(pod, word) for pod, word in found if is_ready(pod)]


def kill_one(release: Release, killer: Killer, chance: random.Random, killed: Counter[str]) -> None:
    there = targets(release)
    if not there:
        return
    pod, word = chance.choice(there)
    if killer.kill_if_there(pod, word):
        killed[word] += 1


async def test_everything_answered_is_in_history_once_whatever_was_killed(released: Release, entry: Entry) -> None:
    kubectl, chance, killed = released.kubectl, random.Random(SEED), Counter[str]()
    killer = Killer(kubectl, released.pods(CHAT_PODS)[0]["spec"]["nodeName"])
    async with crowd(entry.chat, "random", CLIENTS, released.token) as talking:
        await talking.until(CLIENTS * 5)
        deadline = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.to_thread(kill_one, released, killer, chance, killed)
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        count = len(STORES) + 4
        await asyncio.to_thread(
            kubectl.wait_for, lambda: len(targets(released)) == count, "everything to be back", AGAIN_SECONDS
        )
        await talking.until(talking.total + CLIENTS * 5)
    tell(f"seed {SEED}: killed {dict(killed)}; {talking.summary()}")
    assert sum(killed.values()) >= SECONDS / 30
    assert set(talking.closes) <= EXPLAINED
    missing = await talking.lost(entry.history)
    assert missing == set()
