"""Storing exchange records, without HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from frameproto.exchange import encode_exchange
from frameproto.history import REFUSED
from history_service.blobs.filesystem import FolderBlobs
from history_service.ingest import Ingest
from history_service.metrics import HistoryMetrics
from history_service.stores.base import StoreUnavailable
from history_service.stores.sqlite import SqliteStore
from tests.history.pod import rich_exchange
from tests.support.exchanges import exchange


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "messages.sqlite")
    await opened.prepare()
    yield opened
    await opened.close()


@pytest.fixture
def ingest(store: SqliteStore, tmp_path: Path) -> Ingest:
    return Ingest(store, FolderBlobs(tmp_path / "media"), HistoryMetrics(), upload_seconds=30)


async def test_each_record_has_its_result_in_its_place(ingest: Ingest) -> None:
    one, other = exchange("one"), rich_exchange()
    results = await ingest.store([encode_exchange(one), b"no record", encode_exchange(other), encode_exchange(one)])
    assert [(each["id"], each["outcome"]) for each in results] == [
        (str(one.id), "stored"),
        (None, REFUSED),
        (str(other.id), "stored"),
        (str(one.id), "duplicate"),
    ]
    assert results[1]["code"] == "record_unreadable"


async def test_media_are_stored_before_the_exchange_that_points_at_them(
    ingest: Ingest, store: SqliteStore, tmp_path: Path
) -> None:
    rich = rich_exchange()
    await ingest.store([encode_exchange(rich)])
    stored = await store.exchanges.find(rich.id, client_id=None)
    assert stored is not None
    assert len(stored.media_keys()) == 3
    assert all((tmp_path / "media" / key).is_file() for key in stored.media_keys())


async def test_a_store_that_is_away_is_an_error_and_no_result(ingest: Ingest, store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await ingest.store([encode_exchange(exchange())])
