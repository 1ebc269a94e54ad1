"""What is erased is gone from both stores when the answer leaves: SQLite and a folder, MongoDB and S3."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from devtools.swift import S3
from devtools.watching import eventually
from frameproto.exchange import Exchange
from frameproto.history import Direction
from history_service.app import open_history
from history_service.blobs.base import BlobStore, BlobsUnavailable
from history_service.blobs.filesystem import FolderBlobs
from history_service.blobs.s3 import S3Blobs
from history_service.bucket_claim import BucketClaim
from history_service.eraser import Eraser
from history_service.media_keys import MARKER
from history_service.model import MessageId
from history_service.settings import HistorySettings
from history_service.stores.base import ERASED_AT_ONCE, Erasure, MessageStore, PendingUpload
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from servicekit.clock import utc_now
from tests.contract.stores import NOON, begin, kept
from tests.history.pod import check_problem, client, post_batch, rich_exchange


@dataclass
class Backend:
    """The two stores, and what opens them once more: each pod closes its own."""

    store: MessageStore
    blobs: BlobStore
    open: Callable[[], Awaitable[tuple[MessageStore, BlobStore]]]

    async def media(self, client_id: str | None = None) -> set[str]:
        prefix = "" if client_id is None else f"{client_id}/"
        return {found.key async for found in self.blobs.list(prefix) if found.key != MARKER}

    def claim(self) -> BucketClaim:
        return BucketClaim(self.store, self.blobs, max_unknown_share=0.1)

    async def is_claimed(self) -> bool:
        return await self.claim().marker() is not None

    def eraser(self, upload_seconds: float = 30) -> Eraser:
        return Eraser(self.store, self.blobs, self.claim(), upload_seconds=upload_seconds, now=utc_now)


@pytest.fixture(params=["local", "remote"])
async def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Backend]:
    unique = uuid4().hex
    if request.param == "remote":
        s3: S3 = request.getfixturevalue("s3")
        url: str = request.getfixturevalue("mongodb_url")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)

    async def opened() -> tuple[MessageStore, BlobStore]:
        store: MessageStore
        blobs: BlobStore
        if request.param == "local":
            store, blobs = SqliteStore(tmp_path / "messages.sqlite"), FolderBlobs(tmp_path / "media")
        else:
            store = MongoStore(url, f"test_{unique}")
            blobs = S3Blobs(f"test-{unique}", endpoint_url=s3.endpoint_url, create_bucket=True)
        await store.prepare()
        await blobs.prepare()
        return store, blobs

    store, blobs = await opened()
    yield Backend(store, blobs, opened)
    await store.close()
    await blobs.close()


@pytest.fixture
async def http(backend: Backend, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A pod of history."""
    async with AsyncExitStack() as closing:
        store, blobs = await backend.open()
        settings: dict[str, Any] = {"data_dir": tmp_path}
        opening = open_history(HistorySettings(**settings), store=store, blobs=blobs)
        history = await closing.enter_async_context(opening)
        yield await closing.enter_async_context(client(history.app))


async def ingest(http: httpx2.AsyncClient, *exchanges: Exchange) -> list[str]:
    answer = await post_batch(http, *exchanges)
    assert answer.status_code == 200, answer.text
    return [result["outcome"] for result in answer.json()["results"]]


def fresh(client_id: str = "anna", **more: Any) -> Exchange:
    """An exchange of this moment, with media on both sides."""
    return rich_exchange(client_id=client_id, at=utc_now(), **more)


async def test_the_media_of_erased_clients_are_gone_when_the_answer_leaves(
    backend: Backend, http: httpx2.AsyncClient
) -> None:
    clients = [f"client-{number}" for number in range(25)]
    await ingest(http, *(fresh(each, session_id=uuid4()) for each in clients))
    assert len(await backend.media()) == 75
    for each in clients:
        assert (await http.delete(f"/v1/clients/{each}")).status_code == 204
        assert await backend.media(each) == set()


async def test_the_media_of_deleted_sessions_and_messages_are_gone_when_the_answer_leaves(
    backend: Backend, http: httpx2.AsyncClient
) -> None:
    exchanges = [fresh(session_id=uuid4()) for _ in range(4)]
    await ingest(http, *exchanges)
    assert (await http.delete(f"/v1/sessions/{exchanges[0].session_id}")).status_code == 204
    left = await backend.media()
    assert {key.split("/")[2] for key in left} == {str(each.id) for each in exchanges[1:]}
    assert (await http.delete(f"/v1/messages/{exchanges[1].id}.reply")).status_code == 204
    assert len(await backend.media()) == len(left) - 2


async def test_a_client_that_talks_while_it_is_erased_again_and_again_loses_nothing_new_and_leaves_nothing_old(
    backend: Backend, http: httpx2.AsyncClient
) -> None:
    session = uuid4()
    said: list[Exchange] = []
    ended = asyncio.Event()

    async def talk() -> None:
        for _ in range(20):
            said.append(fresh(session_id=session))
            await ingest(http, said[-1])
        ended.set()

    async def erase() -> None:
        while not ended.is_set():
            at = utc_now()
            assert (await http.delete("/v1/clients/anna")).status_code == 204
            old = {str(each.id) for each in said if each.received_at <= at}
            assert not {key.split("/")[2] for key in await backend.media()} & old
            await asyncio.sleep(random.uniform(0, 0.05))

    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        group.create_task(erase())
    here = [each for each in said if await backend.store.exchanges.find(each.id, client_id="anna")]
    assert {key.split("/")[2] for key in await backend.media()} == {str(each.id) for each in here}
    assert len(await backend.media()) == 3 * len(here)
    await ingest(http, late := fresh(session_id=session))
    assert {key.split("/")[2] for key in await backend.media()} >= {str(late.id)}


async def test_an_erasure_waits_for_media_that_are_being_stored(backend: Backend) -> None:
    session = await begin(backend.store)
    exchange = kept(session.id)
    upload = upload_of(exchange.id, session.id)
    assert await backend.store.uploads.begin([upload]) == set()
    erasing = asyncio.create_task(backend.eraser().erase_client("anna"))
    while not await backend.store.uploads.begin([replace(upload, id=uuid4())]):  # noqa: ASYNC110 - a store
        await asyncio.sleep(0.01)  # until it has written down that the client is erased
    for key in upload.keys:
        await backend.blobs.put(key, b"x", "audio/mpeg")
    assert not erasing.done()
    for each in await backend.store.uploads.of_client("anna"):
        await backend.store.uploads.end([each], failed=True)
    await erasing
    assert await backend.media() == set()
    assert await backend.store.uploads.of_client("anna") == []


async def test_an_erasure_waits_for_a_process_that_has_ended_only_so_long(backend: Backend) -> None:
    session = await begin(backend.store)
    upload = upload_of(uuid4(), session.id)
    await backend.store.uploads.begin([upload])
    for key in upload.keys:
        await backend.blobs.put(key, b"x", "audio/mpeg")
    await backend.eraser(upload_seconds=0.2).erase_client("anna")
    assert await backend.media() == set()


async def test_media_that_are_on_their_way_to_new_messages_are_left(backend: Backend) -> None:
    session = await begin(backend.store)
    later = utc_now() + timedelta(hours=1)
    uploads = [upload_of(uuid4(), session.id, received_at=later) for _ in range(2)]
    await backend.store.uploads.begin(uploads)
    await backend.store.uploads.end(uploads[1:], failed=True)
    for upload in uploads:
        for key in upload.keys:
            await backend.blobs.put(key, b"x", "audio/mpeg")
    before = await backend.media()
    await backend.eraser().erase_client("anna")
    await backend.eraser().delete_session(session)
    assert await backend.media() == before


async def test_media_of_messages_that_came_after_an_erasure_began_are_left(
    backend: Backend, http: httpx2.AsyncClient
) -> None:
    session = uuid4()
    await ingest(http, fresh(session_id=session))
    began = utc_now()
    await ingest(http, new := fresh(session_id=session))
    await Eraser(backend.store, backend.blobs, backend.claim(), upload_seconds=30, now=lambda: began).erase_client(
        "anna"
    )
    left = await backend.media()
    assert ({key.split("/")[2] for key in left}, len(left)) == ({str(new.id)}, 3)


async def test_the_other_message_of_an_exchange_keeps_its_media_when_the_process_that_stored_them_has_died(
    backend: Backend, http: httpx2.AsyncClient
) -> None:
    session = await begin(backend.store)
    exchange = kept(session.id)
    upload = upload_of(exchange.id, session.id)
    await backend.store.uploads.begin([upload])
    for key in upload.keys:
        await backend.blobs.put(key, b"x", "audio/mpeg")
    await backend.store.exchanges.add([exchange])
    await backend.store.uploads.end([upload], failed=True)
    assert (await http.delete(f"/v1/messages/{exchange.id}.reply")).status_code == 204
    assert await backend.media() == {upload.keys[0]}  # of the request


async def test_what_deliveries_left_is_erased_and_what_is_not_ours_is_not(backend: Backend) -> None:
    session = await begin(backend.store)
    old, foreign = kept(session.id), kept(uuid4())
    ours = f"anna/{session.id}/{old.id}/request.mp3"
    others = {
        f"anna/{foreign.session_id}/{foreign.id}/request.mp3",
        f"anna/{session.id}/notes.txt",
        f"annabel/{session.id}/{old.id}/request.mp3",
    }
    await BucketClaim(backend.store, backend.blobs, max_unknown_share=1).require()
    for key in (ours, *others):
        await backend.blobs.put(key, b"x", "audio/mpeg")
    await backend.eraser().erase_client("anna")
    assert await backend.media() == others


async def _fail(_key: str) -> None:
    raise BlobsUnavailable("in the middle")


@pytest.mark.parametrize("what", ["client", "session", "message"])
async def test_what_was_broken_off_is_finished_by_the_next_sweep(
    backend: Backend, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await begin(backend.store)
    exchanges = [kept(session.id, str(number)) for number in range(3)]
    for exchange in exchanges:
        for key in exchange.media_keys():
            await backend.blobs.put(key, b"x", "audio/mpeg")
    await backend.store.exchanges.add(exchanges)
    eraser = backend.eraser()
    begun = {
        "client": eraser.erase_client("anna"),
        "session": eraser.delete_session(session),
        "message": eraser.delete_message(next(exchanges[0].messages())),
    }
    with monkeypatch.context() as broken:
        broken.setattr(backend.blobs, "delete", _fail)
        with pytest.raises(BlobsUnavailable):
            await begun.pop(what)
    for each in begun.values():
        each.close()
    assert len(await backend.media()) == 3
    assert len(await backend.store.erasures.pending()) == 1
    await backend.eraser().finish_all()
    assert len(await backend.media()) == (2 if what == "message" else 0)
    assert await backend.store.erasures.pending() == []
    if what == "client":
        assert await backend.store.sessions.known("anna", [session.id]) == set()


async def test_an_erasure_whose_media_cannot_be_deleted_holds_up_no_other(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = backend.blobs.delete, list[str]()

    async def delete(key: str) -> None:
        if key in locked:
            raise BlobsUnavailable("the object is locked")
        await real(key)

    for client_id in ("anna", "bert"):
        session = await begin(backend.store, client_id=client_id)
        exchange = kept(session.id, client_id, client_id=client_id)
        for key in exchange.media_keys():
            await backend.blobs.put(key, b"x", "audio/mpeg")
            locked.append(key)
        await backend.store.exchanges.add([exchange])
    eraser = backend.eraser()
    monkeypatch.setattr(backend.blobs, "delete", delete)
    for client_id in ("anna", "bert"):
        with pytest.raises(BlobsUnavailable):
            await eraser.erase_client(client_id)
    locked[:] = [key for key in locked if key.startswith("anna/")]
    await eraser.finish_all()
    assert [erasure.client_id for erasure in await backend.store.erasures.pending()] == ["anna"]
    assert await backend.media() == set(locked) != set()


async def test_erasures_that_cannot_be_finished_do_not_hide_those_behind_them(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = [
        Erasure(id=uuid4(), client_id="anna", at=NOON, message=MessageId(uuid4(), Direction.REPLY), keys=(f"anna/{n}",))
        for n in range(ERASED_AT_ONCE + 1)
    ]
    for each in stuck:
        await backend.store.erasures.begin(each)
    later = Erasure(id=uuid4(), client_id="bert", at=NOON + timedelta(days=1))
    await backend.store.erasures.begin(later)

    async def delete(_key: str) -> None:
        raise BlobsUnavailable("the object is locked")

    monkeypatch.setattr(backend.blobs, "delete", delete)
    assert await backend.eraser().finish_all() == len(stuck)
    first = await backend.store.erasures.pending()
    second = await backend.store.erasures.pending(after=first[-1])
    assert {each.id for each in [*first, *second]} == {each.id for each in stuck}


async def test_a_late_delivery_stores_no_media(backend: Backend, http: httpx2.AsyncClient) -> None:
    old, other = fresh(session_id=uuid4()), fresh(session_id=uuid4())
    await ingest(http, old, other)
    await http.delete(f"/v1/messages/{other.id}.request")
    await http.delete(f"/v1/sessions/{old.session_id}")
    before = await backend.media()
    assert await ingest(http, old, other) == ["erased", "duplicate"]
    assert await backend.media() == before


async def test_nothing_is_deleted_from_a_bucket_that_is_anothers(backend: Backend, http: httpx2.AsyncClient) -> None:
    exchange = fresh(session_id=uuid4())
    await ingest(http, exchange)
    await eventually(backend.is_claimed, "the claim of the bucket, which would overwrite the one below")
    content = f'{{"database": "{uuid4()}", "stamp": "{uuid4()}"}}'.encode()
    await backend.blobs.put(MARKER, content, "application/json")
    before = await backend.media()
    for path in (f"messages/{exchange.id}.reply", f"sessions/{exchange.session_id}", "clients/anna"):
        check_problem(await http.delete(f"/v1/{path}"), 503, "deletion_refused")
    assert await backend.media() == before
    assert await backend.store.exchanges.find(exchange.id, client_id="anna") is not None
    assert await backend.store.erasures.pending() == []


def upload_of(exchange_id: UUID, session_id: UUID, **more: Any) -> PendingUpload:
    """Two media of an exchange that are about to be stored."""
    keys = tuple(f"anna/{session_id}/{exchange_id}/{side}.mp3" for side in ("request", "reply"))
    given = {"received_at": NOON, **more}
    return PendingUpload(
        id=uuid4(), client_id="anna", session_id=session_id, exchange_id=exchange_id, keys=keys, **given
    )


async def test_uploads_are_written_down_until_they_end(backend: Backend) -> None:
    store, session = backend.store, await begin(backend.store)
    first, again, other = kept(session.id), uuid4(), kept(session.id)
    uploads = [upload_of(each.id, session.id) for each in (first, other)]
    assert await store.uploads.begin(uploads) == set()
    second = replace(uploads[0], id=again)
    assert await store.uploads.begin([second]) == set()
    found = await store.uploads.of_client("anna")
    assert {each.id for each in found} == {uploads[0].id, uploads[1].id, again}
    assert all(each.active and 0 <= each.age_seconds < 60 for each in found)
    assert [replace(each, age_seconds=0) for each in found if each.id == again] == [second]
    assert await store.uploads.of_client("ben") == []
    await store.uploads.end(uploads, failed=True)
    assert {each.id for each in await store.uploads.of_client("anna") if each.active} == {again}
    await store.uploads.end([second], failed=False)  # the exchange is here, whatever happened to it before
    assert [each.id for each in await store.uploads.of_client("anna")] == [uploads[1].id]
    repeated = replace(uploads[1], id=uuid4())
    await store.uploads.begin([repeated])
    await store.uploads.end([repeated], failed=True)  # the latest is enough to find the media by
    assert [each.id for each in await store.uploads.of_client("anna")] == [repeated.id]
    await store.exchanges.add([first])
    assert await store.uploads.begin([second, replace(uploads[1], id=uuid4())]) == {first.id}
    await store.deletions.delete_session("anna", session.id, at=NOON)
    assert await store.uploads.begin([replace(uploads[1], id=uuid4())]) == {other.id}
