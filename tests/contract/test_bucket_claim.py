"""A sweep never deletes media of another database: rehearsed with SQLite and a folder, and with MongoDB and S3."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from pymongo import MongoClient

from devtools.swift import S3
from history_service.blobs.base import BlobStore
from history_service.blobs.filesystem import FolderBlobs
from history_service.blobs.s3 import S3Blobs
from history_service.bucket_claim import BucketClaim, BucketRefused, Refusal
from history_service.eraser import Eraser
from history_service.media_keys import MARKER
from history_service.metrics import HistoryMetrics
from history_service.model import StoredExchange
from history_service.stores.base import MessageStore
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from history_service.sweeper import Sweeper, SweepLimits
from servicekit.clock import utc_now
from tests.contract.stores import begin, kept

IN_TWO_DAYS = timedelta(days=2)


@dataclass
class Release:
    """A database and a bucket, as the pods of one release see them."""

    store: MessageStore
    blobs: BlobStore

    @property
    def claim(self) -> BucketClaim:
        return BucketClaim(self.store, self.blobs, max_unknown_share=0.1)

    async def talk(self, exchanges: int = 2) -> list[StoredExchange]:
        """Keep exchanges of a new session, with media."""
        session = await begin(self.store)
        stored = [kept(session.id, str(number)) for number in range(exchanges)]
        await self.store_media(stored)
        await self.store.exchanges.add(stored)
        return stored

    async def fail_to_deliver(self) -> None:
        """Store the media of an exchange whose messages never come."""
        session = await begin(self.store)
        await self.store_media([kept(session.id)])

    async def store_media(self, exchanges: list[StoredExchange]) -> None:
        for key in media_of(exchanges):
            await self.blobs.put(key, b"an MP3", "audio/mpeg")

    async def sweep(self) -> str | None:
        """Sweep as if all media had been there for long; return what stood in the way."""
        metrics = HistoryMetrics()
        sweeper = Sweeper(
            self.store,
            self.blobs,
            self.claim,
            Eraser(self.store, self.blobs, self.claim, upload_seconds=30, now=utc_now),
            metrics,
            limits=SweepLimits(retention=None, orphan_age=timedelta(days=1), max_orphan_share=1),
            every=timedelta(hours=1),
            now=lambda: utc_now() + IN_TWO_DAYS,
        )
        await sweeper.sweep()
        (gauge,) = metrics.sweep_blocked.collect()
        return gauge.samples[0].labels["reason"] if gauge.samples else None

    async def media(self) -> set[str]:
        return {found.key async for found in self.blobs.list("") if found.key != MARKER}


def media_of(exchanges: list[StoredExchange]) -> set[str]:
    return {media.key for exchange in exchanges for side in exchange.messages() for media in side.content.media}


class Site(Protocol):
    """Where databases and buckets are."""

    async def release(self, database: str, bucket: str = "media", prefix: str = "") -> Release:
        """Open a database and a bucket; they are made when they are not there."""

    async def copy(self, source: str, target: str) -> None:
        """Copy a database as a dump and a restore do; the target is replaced."""

    async def take_back(self, source: str, target: str) -> None:
        """Replace the contents of a database by those of another, and leave the place as it is: as a snapshot does."""


class Local:
    """SQLite and folders."""

    def __init__(self, folder: Path, closing: AsyncExitStack) -> None:
        self._folder = folder
        self._closing = closing

    async def release(self, database: str, bucket: str = "media", prefix: str = "") -> Release:
        return await opened(
            SqliteStore(self._path(database)), FolderBlobs(self._folder / bucket / prefix), self._closing
        )

    async def copy(self, source: str, target: str) -> None:
        await self.take_back(source, target)

    async def take_back(self, source: str, target: str) -> None:
        with (
            closing(sqlite3.connect(self._path(source))) as read,
            closing(sqlite3.connect(self._path(target))) as write,
        ):
            read.backup(write)

    def _path(self, database: str) -> Path:
        return self._folder / f"{database}.sqlite"


class Remote:
    """MongoDB and S3."""

    def __init__(self, url: str, s3: S3, closing: AsyncExitStack) -> None:
        self._url = url
        self._s3 = s3
        self._closing = closing
        self._unique = uuid4().hex

    async def release(self, database: str, bucket: str = "media", prefix: str = "") -> Release:
        blobs = S3Blobs(
            f"{bucket}-{self._unique}", endpoint_url=self._s3.endpoint_url, prefix=prefix, create_bucket=True
        )
        return await opened(MongoStore(self._url, self._name(database)), blobs, self._closing)

    async def copy(self, source: str, target: str) -> None:
        with MongoClient[dict[str, Any]](self._url) as client:
            client.drop_database(self._name(target))
        await self.take_back(source, target)

    async def take_back(self, source: str, target: str) -> None:
        with MongoClient[dict[str, Any]](self._url) as client:
            read, write = client[self._name(source)], client[self._name(target)]
            for name in {*read.list_collection_names(), *write.list_collection_names()}:
                write[name].delete_many({})
                documents = list(read[name].find())
                if documents:
                    write[name].insert_many(documents)

    def _name(self, database: str) -> str:
        return f"{database}_{self._unique}"


async def opened(store: MessageStore, blobs: BlobStore, closing: AsyncExitStack) -> Release:
    for each in (store, blobs):
        await each.prepare()
        closing.push_async_callback(each.close)
    return Release(store, blobs)


@pytest.fixture(params=["local", "remote"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with AsyncExitStack() as closing:
        if request.param == "local":
            yield Local(tmp_path, closing)
            return
        s3: S3 = request.getfixturevalue("s3")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        yield Remote(request.getfixturevalue("mongodb_url"), s3, closing)


async def test_a_release_owns_its_bucket_and_sweeps_it(site: Site) -> None:
    release = await site.release("chatbot")
    said = await release.talk()
    await release.fail_to_deliver()
    for _ in range(2):
        assert await release.sweep() is None
        assert await release.media() == media_of(said)
    again = await site.release("chatbot")
    assert await again.sweep() is None


async def test_pods_of_one_release_begin_and_sweep_at_once(site: Site) -> None:
    pods = [await site.release("chatbot") for _ in range(3)]
    said = await pods[0].talk()
    await asyncio.gather(*(pod.claim.require() for pod in pods))
    assert await asyncio.gather(*(pod.sweep() for pod in pods)) == [None] * 3
    assert [await pod.sweep() for pod in pods] == [None] * 3
    assert await pods[0].media() == media_of(said)


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "of an older version"])
async def test_an_empty_or_mistyped_database_deletes_nothing(site: Site, owned: bool) -> None:
    production = await site.release("chatbot")
    said = await production.talk()
    if owned:
        assert await production.sweep() is None
    mistyped = await site.release("chatbto")
    assert await mistyped.sweep() == (Refusal.FOREIGN if owned else Refusal.UNKNOWN_MEDIA)
    await mistyped.talk(1)
    assert await mistyped.sweep() is not None
    assert await production.media() > media_of(said)
    assert await production.sweep() == (None if owned else Refusal.UNKNOWN_MEDIA)
    assert await production.media() > media_of(said)


async def test_a_trial_pod_on_a_restored_copy_deletes_nothing(site: Site) -> None:
    production = await site.release("chatbot")
    said = await production.talk()
    assert await production.sweep() is None
    await site.copy("chatbot", "trial")
    later = await production.talk()
    trial = await site.release("trial")
    assert await trial.sweep() == Refusal.COPY
    assert await production.media() == media_of(said) | media_of(later)
    assert await production.sweep() is None


async def test_a_database_restored_from_a_backup_deletes_nothing_until_it_is_told_to(site: Site) -> None:
    release = await site.release("chatbot")
    said = await release.talk()
    assert await release.sweep() is None
    await site.copy("chatbot", "backup")
    later = await release.talk()
    assert await release.sweep() is None
    await site.copy("backup", "chatbot")
    restored = await site.release("chatbot")
    assert await restored.sweep() in {Refusal.COPY, Refusal.STALE}
    assert await restored.media() == media_of(said) | media_of(later)
    await restored.claim.adopt()
    for _ in range(2):
        assert await restored.sweep() is None
        # Of the sessions that the backup does not have nothing is known, so nothing of theirs is deleted.
        assert await restored.media() == media_of(said) | media_of(later)
    await restored.fail_to_deliver()
    assert await restored.sweep() is None
    assert await restored.media() == media_of(said) | media_of(later)


async def test_a_snapshot_that_is_older_than_the_latest_sweep_deletes_nothing(site: Site) -> None:
    release = await site.release("chatbot")
    said = await release.talk()
    assert await release.sweep() is None
    await site.take_back("chatbot", "snapshot")
    later = await release.talk()
    assert await release.sweep() is None
    await site.take_back("snapshot", "chatbot")
    assert await release.sweep() == Refusal.STALE
    assert await release.media() == media_of(said) | media_of(later)


async def test_two_releases_on_one_bucket_delete_nothing_of_each_other(site: Site) -> None:
    blue, green = await site.release("blue"), await site.release("green")
    first = await blue.talk(12)
    assert await blue.sweep() is None
    second = await green.talk(1)
    assert await green.sweep() == Refusal.FOREIGN
    await green.fail_to_deliver()
    everything = await blue.media()
    assert await blue.sweep() is None
    assert await green.sweep() == Refusal.FOREIGN
    assert await blue.media() == everything > media_of(first) | media_of(second)


async def test_two_releases_that_share_a_bucket_by_prefix_do_not_see_each_other(site: Site) -> None:
    blue, green = await site.release("blue", prefix="blue/"), await site.release("green", prefix="green/")
    whole = await site.release("whole")
    said = [await release.talk() for release in (blue, green, whole)]
    for release, ours in zip((blue, green, whole), said, strict=True):
        await release.fail_to_deliver()
        assert await release.sweep() is None
        mine = {key for key in await release.media() if not key.startswith(("blue/", "green/"))}
        assert mine == media_of(ours)
    for release in (blue, green):
        assert await release.sweep() is None


async def test_a_bucket_that_an_older_version_filled_is_taken_over_by_the_database_that_knows_it(site: Site) -> None:
    release = await site.release("chatbot")
    said = await release.talk(20)
    stranger = await site.release("stranger")
    await stranger.talk(1)
    assert await stranger.sweep() == Refusal.UNKNOWN_MEDIA
    assert await release.sweep() is None
    assert await release.media() > media_of(said)
    assert await stranger.sweep() == Refusal.FOREIGN


async def test_an_unreadable_marker_stops_everything(site: Site) -> None:
    release = await site.release("chatbot")
    await release.claim.require()
    for content in (b"", b"{}", b"[]", b'{"database": 5, "stamp": null}', b"\xff", b"x" * 10_000):
        await release.blobs.put(MARKER, content, "application/json")
        assert await release.sweep() == Refusal.MARKER_UNREADABLE
    await release.claim.adopt()
    assert await release.sweep() is None


async def test_a_refusal_says_why_and_what_to_do(site: Site) -> None:
    await (await site.release("chatbot")).claim.require()
    with pytest.raises(BucketRefused, match=r"belongs to another database.+adopt-bucket"):
        await (await site.release("other")).claim.require()


async def test_a_database_file_that_is_moved_is_the_same(tmp_path: Path) -> None:
    async with AsyncExitStack() as closing:
        site = Local(tmp_path / "here", closing)
        await (await site.release("chatbot")).claim.renew()
    shutil.move(tmp_path / "here", tmp_path / "there")
    async with AsyncExitStack() as closing:
        assert await (await Local(tmp_path / "there", closing).release("chatbot")).sweep() is None
