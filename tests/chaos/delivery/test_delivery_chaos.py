"""Delivery under chaos: what a client saw answered is in history once, byte for byte, whatever goes wrong."""

import random
import sys
import time
from pathlib import Path

import pytest

from devtools.swift import S3
from tests.chaos.delivery import judge
from tests.chaos.delivery.faults import FAULTS
from tests.chaos.delivery.town import Stuck, open_town
from tests.chaos.rounds import SECONDS, SEED

OUTAGE_SECONDS = 20.0 if SECONDS else 1.0

ALONE = [pytest.param([fault], id=fault) for fault in FAULTS] if SECONDS else []
"""Alone, a fault is easier to understand; the short form leaves it at the row."""


@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("faults", [*ALONE, pytest.param(list(FAULTS), id="all-in-a-row")])
async def test_what_was_answered_is_in_history_once(faults: list[str], tmp_path: Path, s3: S3) -> None:
    """Each round has a town, a seed and an order of its own; CHAOS_SECONDS says for how long rounds begin."""
    began, number = time.monotonic(), 0
    while number == 0 or (len(faults) > 1 and time.monotonic() - began < SECONDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        seed = SEED if number == 0 else f"{SEED}-{number}"
        await run_chaos(folder, seed, random.Random(seed).sample(faults, len(faults)), s3)
        number += 1


async def run_chaos(folder: Path, seed: str, faults: list[str], s3: S3) -> None:
    complaints: list[str] = []
    async with open_town(folder, seed, s3, outage_seconds=OUTAGE_SECONDS) as town:
        try:
            for fault in faults:
                await FAULTS[fault](town)
                await town.calm()
            await town.end()
            complaints += judge.complaints(town.story)
            complaints += town.leftovers()
        except Stuck as exc:
            complaints = [str(exc), *town.leftovers()]
    sys.stdout.write(f"chaos: seed {seed}: {judge.summary(town.story)}\n")
    done = "\n".join(f"{at - town.story.faults[0][0]:8.3f} {what}" for at, what in town.story.faults)
    sys.stdout.write(f"{done}\n")
    if complaints:
        pytest.fail("\n".join([f"seed {seed}, faults {faults}", *complaints, done]), pytrace=False)
