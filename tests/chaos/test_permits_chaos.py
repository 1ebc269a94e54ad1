"""Permits under chaos: whatever goes wrong, no more are held than there are, and nobody is forgotten."""

import random
import sys
import time
from pathlib import Path

import pytest

from tests.chaos import judge, terms
from tests.chaos.cluster import Cluster, Stuck, open_cluster
from tests.chaos.faults import FAULTS
from tests.chaos.journal import Ask
from tests.chaos.rounds import SECONDS, SEED

ORDER_SLACK_SECONDS = 0.15
"""By how much the news of a grant may be slower in one worker than in another while none was kept from running."""


ALONE = [pytest.param([fault], id=fault) for fault in FAULTS] if SECONDS else []
"""Alone, a fault is easier to understand; the short form leaves it at the row."""


@pytest.mark.timeout(SECONDS + 600)  # all waits within have bounds of their own; a busy machine takes minutes
@pytest.mark.parametrize("faults", [*ALONE, pytest.param(list(FAULTS), id="all-in-a-row")])
async def test_permits_keep_their_promises(faults: list[str], tmp_path: Path) -> None:
    """Each round has a cluster, a seed and an order of its own; CHAOS_SECONDS says for how long rounds begin."""
    began, number = time.monotonic(), 0
    while number == 0 or (len(faults) > 1 and time.monotonic() - began < SECONDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        seed = SEED if number == 0 else f"{SEED}-{number}"
        await run_chaos(folder, seed, random.Random(seed).sample(faults, len(faults)))
        number += 1


async def run_chaos(folder: Path, seed: str, faults: list[str]) -> None:
    async with open_cluster(folder, seed, remembers="restart" in faults) as cluster:
        try:
            for fault in faults:
                await FAULTS[fault](cluster)
                await cluster.calm()
            complaints = await last_things(cluster)
            asks = cluster.asks()
            complaints += judge.endings(asks, cluster.record, lease_seconds=terms.LEASE_SECONDS)
        except Stuck as exc:
            complaints = [str(exc), f"the store says: {await cluster.show()}"]
            asks = cluster.asks()
    complaints += verdict(asks, cluster.record)
    sys.stdout.write(f"chaos: seed {seed}: {len(asks)} asks, {dict(judge.outcomes(asks))}\n")
    done = "\n".join(f"{at / judge.SECOND:.3f} {what}" for at, what in cluster.record.faults)
    sys.stdout.write(f"{done}\n")
    if complaints:
        pytest.fail("\n".join([f"seed {seed}, faults {faults}", *complaints, done, cluster.errors()]), pytrace=False)


async def last_things(cluster: Cluster) -> list[str]:
    """Let everybody give back what they hold, then leave: nothing may be left in the store at either time."""
    drained = await cluster.drain()
    left = await cluster.leave()
    complaints = []
    for view, when in ((drained, "everything was given back"), (left, "everybody had left")):
        if view.state.held or view.state.waiting or view.state.clients or view.line:
            complaints.append(f"the store says, when {when}: {view}")
    if left.pods:
        complaints.append(f"pods that have left are still there: {left.pods}")
    if errors := cluster.errors():
        complaints.append(f"workers had errors:\n{errors}")
    return complaints


def verdict(asks: list[Ask], record: judge.Record) -> list[str]:
    """Return what the journals complain of."""
    return [
        *judge.overlap(asks, record),
        *judge.clients(asks, record, limit=terms.PER_CLIENT),
        *judge.tickets(asks),
        *judge.order(asks, record, slack_seconds=ORDER_SLACK_SECONDS, beat_seconds=terms.LEASE_SECONDS / 8),
        *judge.returns(asks, record, within_seconds=1.5 * terms.LEASE_SECONDS),
    ]
