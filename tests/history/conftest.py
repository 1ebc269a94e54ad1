"""What the tests of the history service share: running pods."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.history.pod import Pod, open_pod


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the variables and the .env file of whoever runs the tests out of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("AUTH", "MONGODB_URL", "S3_BUCKET", "MAX_BATCH_BYTES", "TOKEN_SECRETS", "TOKEN_AUDIENCE"):
        monkeypatch.delenv(f"HISTORY_{name}", raising=False)


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that believes everyone."""
    async with open_pod(tmp_path / "data") as opened:
        yield opened
