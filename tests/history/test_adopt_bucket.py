"""`python -m history_service adopt-bucket`, as operators use it after a restore."""

import asyncio
import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from tests.history.pod import open_pod, rich_exchange
from tests.history.test_settings import start


@pytest.fixture
async def restored(tmp_path: Path) -> Path:
    """A data folder whose database is older than its media."""
    folder = tmp_path / "data"
    async with open_pod(folder) as pod:
        await pod.ingest(rich_exchange())
    shutil.copy(folder / "messages.sqlite", tmp_path / "backup.sqlite")
    async with open_pod(folder, sweep_seconds=0.01) as pod:
        await pod.ingest(rich_exchange(session_id=uuid4()))
        first = (folder / "media/_chatbot/database.json").read_bytes()
        async with asyncio.timeout(60):
            while (folder / "media/_chatbot/database.json").read_bytes() == first:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    shutil.move(tmp_path / "backup.sqlite", folder / "messages.sqlite")
    return folder


async def test_a_restored_database_adopts_its_bucket_when_somebody_says_so(restored: Path) -> None:
    run = {"DATA_DIR": str(restored)}
    told = start(restored, "adopt-bucket", **run)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        "This database is older than the bucket: it was restored from a backup, or is used in two places.",
        "Media that are 24 hours old and more: 0.",
        "Of these without a message, to be swept by the owner: 0.",
        "Of these in sessions that this database does not know, to be left alone: 0.",
        "Nothing was changed. With --yes the database becomes the owner.",
    ]
    assert start(restored, "adopt-bucket", "--yes", **run).stdout.endswith("belongs to this database now.\n")
    assert start(restored, "adopt-bucket", **run).stdout == "The bucket belongs to this database already.\n"


def test_what_the_command_does_not_know_is_refused_with_its_usage(tmp_path: Path) -> None:
    for arguments, code in ((["--force"], 2), (["--help"], 0)):
        ended = start(tmp_path, "adopt-bucket", *arguments)
        assert (ended.returncode, ended.stdout) == (code, "")
        assert ended.stderr.startswith("usage: python -m history_service adopt-bucket [--yes]")


def test_a_store_that_is_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    ended = start(tmp_path, "adopt-bucket", DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert "cannot be made" in ended.stderr
