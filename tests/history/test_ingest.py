"""Storing exchange records, without HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from frameproto import Response, ResponseKind
from frameproto.exchange import Exchange, encode_exchange
from frameproto.history import REFUSED
from frameproto.kinds import Buffer
from history_service.blobs.base import BlobsUnavailable
from history_service.blobs.filesystem import FolderBlobs
from history_service.ingest import Ingest
from history_service.metrics import HistoryMetrics
from history_service.stores.base import StoreUnavailable
from history_service.stores.sqlite import SqliteStore
from tests.history.pod import VIDEO, rich_exchange
from tests.support.exchanges import exchange

OVERTAKEN = rich_exchange(message_id=uuid4())


class FullBlobs(FolderBlobs):
    """Takes nothing while it is full."""

    full = True

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        if self.full:
            raise BlobsUnavailable("the disk is full")
        await super().put(key, data, content_type)


class Meanwhile(FolderBlobs):
    """Something else happens while it takes its first media."""

    def __init__(self, folder: Path, happen: Callable[[], Awaitable[object]]) -> None:
        super().__init__(folder)
        self._happen = happen
        self.stored = 0

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        self.stored += 1
        if self.stored == 1:
            await self._happen()
        await super().put(key, data, content_type)


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


async def test_uploads_are_under_way_no_more_once_the_exchange_is_stored(ingest: Ingest, store: SqliteStore) -> None:
    rich = rich_exchange()
    await ingest.store([encode_exchange(rich)])
    assert await store.uploads.of_client(rich.client_id) == []


async def test_media_of_a_failed_delivery_are_known_until_it_comes_again(store: SqliteStore, tmp_path: Path) -> None:
    blobs = FullBlobs(tmp_path / "media")
    ingest = Ingest(store, blobs, HistoryMetrics(), upload_seconds=30)
    rich = rich_exchange()
    with pytest.raises(BlobsUnavailable):
        await ingest.store([encode_exchange(rich)])
    (known,) = await store.uploads.of_client(rich.client_id)
    assert not known.active, "deletions need not wait for it"
    assert known.exchange_id == rich.id
    blobs.full = False
    (result,) = await ingest.store([encode_exchange(rich)])
    assert result["outcome"] == "stored"
    assert await store.uploads.of_client(rich.client_id) == []


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        (exchange(id_=OVERTAKEN.id, message_id=OVERTAKEN.message_id), "duplicate"),
        (exchange(message_id=OVERTAKEN.message_id, attempt=1), "superseded"),
    ],
    ids=["the same exchange", "a later answer"],
)
async def test_media_of_a_delivery_that_was_overtaken_are_deleted(
    ingest: Ingest, store: SqliteStore, tmp_path: Path, other: Exchange, outcome: str
) -> None:
    folder = tmp_path / "media"
    meanwhile = Meanwhile(folder, lambda: ingest.store([encode_exchange(other)]))
    late = Ingest(store, meanwhile, HistoryMetrics(), upload_seconds=30)
    (result,) = await late.store([encode_exchange(OVERTAKEN)])
    assert result["outcome"] == outcome
    assert meanwhile.stored == 3
    assert [file for file in folder.rglob("*") if file.is_file()] == []


async def test_media_of_an_exchange_that_is_stored_are_not_written_again(
    ingest: Ingest, store: SqliteStore, tmp_path: Path
) -> None:
    rich = rich_exchange()
    another = Response(ResponseKind.VIDEO, "another", voice=b"another MP3", image=b"another JPEG")
    await ingest.store([encode_exchange(rich)])
    stored = await store.exchanges.find(rich.id, client_id=None)
    assert stored is not None
    files = [tmp_path / "media" / key for key in stored.media_keys()]
    before = [file.read_bytes() for file in files]
    changed = exchange(id_=rich.id, request=VIDEO, response=another)
    (result,) = await ingest.store([encode_exchange(changed)])
    assert result["outcome"] == "duplicate"
    assert [file.read_bytes() for file in files] == before


async def test_a_store_that_is_away_is_an_error_and_no_result(ingest: Ingest, store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await ingest.store([encode_exchange(exchange())])
