"""Deleting for good: messages, then their media by name, then what was stored for them and never became a message.

No time of an object is looked at. What is to be erased is written down first, so that a sweep ends what was broken off.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID, uuid4

from history_service.blobs.base import BlobError, BlobStore
from history_service.blobs.removal import delete_all
from history_service.bucket_claim import BucketClaim
from history_service.media_keys import MediaKey, client_folder, session_folder
from history_service.model import Message, Session
from history_service.stores.base import ERASED_AT_ONCE, Erasure, MessageStore, PendingUpload
from servicekit.clock import Now
from servicekit.logs import get_logger

log = get_logger(__name__)

BATCH: Final = 500
POLL_SECONDS: Final = 0.05


class Eraser:
    """Deletes messages, sessions and all that a client has; when it returns, their media are gone.

    Args:
        store: the messages.
        blobs: the media.
        claim: whether the media are this database's to delete.
        upload_seconds: how long ingest may be storing media for; who has begun earlier is not at it any more.
        now: the wall clock, by which is decided what is new and stays.
    """

    def __init__(
        self, store: MessageStore, blobs: BlobStore, claim: BucketClaim, *, upload_seconds: float, now: Now
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._claim = claim
        self._upload_seconds = upload_seconds
        self._now = now

    async def erase_client(self, client_id: str) -> None:
        """Erase all that a client has up to now."""
        await self._begin(Erasure(id=uuid4(), client_id=client_id, at=self._now()))

    async def delete_session(self, session: Session) -> None:
        """Delete a session with what was received for it up to now."""
        await self._begin(Erasure(id=uuid4(), client_id=session.client_id, at=self._now(), session_id=session.id))

    async def delete_message(self, message: Message) -> None:
        """Delete a message; the other one of its exchange stays."""
        keys = tuple(media.key for media in message.content.media)
        client_id = message.exchange.client_id
        await self._begin(Erasure(id=uuid4(), client_id=client_id, at=self._now(), message=message.id, keys=keys))

    async def finish_all(self) -> int:
        """Finish what was broken off, by a process that ended or a store that failed.

        One whose media cannot be deleted, such as a locked object, holds up no other; the next sweep tries it again.

        Returns:
            How many could not be finished.
        """
        unfinished, began = 0, self._now()
        erasure: Erasure | None = None
        while page := await self._store.erasures.pending(after=erasure):
            for erasure in page:
                if erasure.at > began:  # it is being finished by its request
                    return unfinished
                try:
                    await self._finish(erasure)
                except BlobError as exc:
                    unfinished += 1
                    log.warning("erasure.not_finished", erasure=str(erasure.id), reason=str(exc))
                else:
                    log.info("erasure.finished")  # whose it was is what was to be forgotten
        return unfinished

    async def is_coming(self, client_id: str, exchange_id: UUID) -> bool:
        """Say whether media of an exchange are being stored."""
        return any(
            upload.exchange_id == exchange_id and self._is_under_way(upload)
            for upload in await self._store.uploads.of_client(client_id)
        )

    async def _begin(self, erasure: Erasure) -> None:
        await self._claim.require()
        await self._store.erasures.begin(erasure)
        await self._finish(erasure)

    async def _finish(self, erasure: Erasure) -> None:
        if erasure.message is not None:
            await self._store.deletions.delete_message(erasure.client_id, erasure.message)
            await delete_all(self._blobs, erasure.keys)
        else:
            await self._delete_exchanges(erasure)
        await self._end_uploads(erasure)
        await self._delete_leftovers(erasure)
        await self._store.erasures.end(erasure)

    async def _delete_exchanges(self, erasure: Erasure) -> None:
        """Delete exchanges and then their media; the messages all go, whatever the media store does."""
        failed: BlobError | None = None
        more = True
        while more:
            gone = (
                await self._store.deletions.erase_client(erasure.client_id, at=erasure.at)
                if erasure.session_id is None
                else await self._store.deletions.delete_session(erasure.client_id, erasure.session_id, at=erasure.at)
            )
            more = len(gone) == ERASED_AT_ONCE
            keys = [media.key for each in gone for message in each.messages() for media in message.content.media]
            try:
                await delete_all(self._blobs, keys if failed is None else [])
            except BlobError as exc:
                failed = exc
        if failed is not None:
            raise failed  # the media that are left are found as leftovers

    async def _end_uploads(self, erasure: Erasure) -> None:
        """Wait for those who are storing media of what is erased, and delete what others have left.

        Ingest says what it is about to store, and then looks whether that was erased: it is either seen here, or it has
        seen that it is too late.
        """
        while True:
            uploads = [
                each for each in await self._store.uploads.of_client(erasure.client_id) if _concerns(erasure, each)
            ]
            under_way = [each for each in uploads if self._is_under_way(each)]
            ended = [each for each in uploads if each not in under_way]
            if ended:
                pointed_at = await self._store.exchanges.media_keys(
                    erasure.client_id, {each.exchange_id for each in ended}
                )
                await delete_all(self._blobs, {key for each in ended for key in each.keys} - pointed_at)
                await self._store.uploads.end(ended, failed=False)
            if not under_way:
                return
            await asyncio.sleep(POLL_SECONDS)

    def _is_under_way(self, upload: PendingUpload) -> bool:
        return upload.active and upload.age_seconds <= self._upload_seconds

    async def _delete_leftovers(self, erasure: Erasure) -> None:
        """Delete media of exchanges that are not here and are not coming: of deliveries that failed long ago, say."""
        if erasure.message is not None:
            return
        async for keys in self._media(erasure):
            # The uploads first: one that has ended since the media were listed has its exchange in the store.
            uploads = await self._store.uploads.of_client(erasure.client_id)
            coming = {each.exchange_id for each in uploads if not _concerns(erasure, each)}
            pointed_at = await self._store.exchanges.media_keys(erasure.client_id, {key.exchange_id for key in keys})
            known = await self._store.sessions.known(erasure.client_id, {key.session_id for key in keys})
            left = [
                str(key)
                for key in keys
                if str(key) not in pointed_at and key.session_id in known and key.exchange_id not in coming
            ]
            if left:
                await self._claim.require()
                await delete_all(self._blobs, left)

    async def _media(self, erasure: Erasure) -> AsyncIterator[list[MediaKey]]:
        if erasure.session_id is None:
            folder = client_folder(erasure.client_id)
        else:
            folder = session_folder(erasure.client_id, erasure.session_id)
        batch: list[MediaKey] = []
        async for found in self._blobs.list(folder):
            key = MediaKey.parse(found.key)
            if key is not None:
                batch.append(key)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def _concerns(erasure: Erasure, upload: PendingUpload) -> bool:
    """Say whether what is stored there is erased."""
    if erasure.message is not None:
        return upload.exchange_id == erasure.message.exchange_id
    in_it = erasure.session_id in {None, upload.session_id}
    return in_it and upload.received_at <= erasure.at
