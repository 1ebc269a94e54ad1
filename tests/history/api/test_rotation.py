"""The order in which docs/access.md changes a secret: while pods are replaced one by one, nobody is turned away."""

import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from servicekit.tokens import INGEST_SCOPE, mint
from tests.history.pod import SHOWN, open_pod
from tests.support.exchanges import exchange

DOCS = Path(__file__).parents[3] / "docs"
SECRETS = {"old": "the secret that has been used until now", "new": "the secret that is used from today on"}
KEPT = exchange(response=SHOWN)
ADDRESS = f"/v1/messages/{KEPT.id}.reply/media/image/address"


def orders() -> list[list[str]]:
    """Return the secrets of all pods, as they are at first and after each step."""
    _, _, section = (DOCS / "access.md").read_text().partition("**To rotate a secret**")
    steps = re.findall(r"^\d\. .*?(?=^\d\. |^$)", section, re.DOTALL | re.MULTILINE)[:3]
    found = [re.findall(r"`((?:old|new)(?:,(?:old|new))?)`", step) for step in steps]
    return [["old"], *([*one[-1].split(",")] for one in found)]


def bearer(secret: str, subject: str = "anna", scope: str | None = None) -> dict[str, str]:
    token = mint(SECRETS[secret], subject=subject, audience="chatbot", lifetime=timedelta(hours=1), scope=scope)
    return {"authorization": f"Bearer {token}"}


async def turned_away(folder: Path, before: Sequence[str], after: Sequence[str], signers: Sequence[str]) -> list[str]:
    """Return what fails while one pod is replaced already and another is not yet."""
    wrong = []
    secrets = [",".join(SECRETS[name] for name in names) for names in (before, after)]
    async with (
        open_pod(folder, auth="jwt", token_secrets=secrets[0]) as one,
        open_pod(folder, auth="jwt", token_secrets=secrets[1]) as other,
    ):
        for signer in signers:
            for here, there in ((one, other), (other, one)):
                handed_in = await here.post(KEPT, **bearer(signer, "chat", INGEST_SCOPE))
                asked = await here.http.post(ADDRESS, headers=bearer(signer))
                if handed_in.status_code != 200 or asked.status_code != 200:
                    wrong.append(f"a token of the {signer} secret")
                elif (await there.http.get(asked.json()["href"])).status_code != 200:
                    wrong.append("an address that another pod signed")
    return wrong


def test_the_order_is_found() -> None:
    assert orders() == [["old"], ["old", "new"], ["new", "old"], ["new"]]


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_nobody_is_turned_away_while_pods_take_the_next_step(tmp_path: Path, step: int) -> None:
    before, after = [*pairwise(orders())][step - 1]
    signers = {1: ["old"], 2: ["old", "new"], 3: ["new"]}[step]
    assert await turned_away(tmp_path / "data", before, after, signers) == []


async def test_the_new_secret_in_front_from_the_start_turns_readers_of_media_away(tmp_path: Path) -> None:
    assert await turned_away(tmp_path / "data", ["old"], ["new", "old"], ["old"]) == [
        "an address that another pod signed"
    ]


def test_operations_leaves_the_order_to_one_page() -> None:
    (row,) = (
        line for line in (DOCS / "operations.md").read_text().splitlines() if "secret that signs tokens |" in line
    )
    assert "access.md#shared-secrets" in row
    assert "new,old" not in row
