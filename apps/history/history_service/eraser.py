"""Permanent deletion: messages, then their media by key, then media of uploads that never became a message.

Times of objects are not used. Each erasure is recorded first, so that a sweep can finish an interrupted one.
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
    """Deletes messages, sessions and clients. When a method returns, the media are deleted, too.

    Args:
        store: the messages.
        blobs: the media.
        claim: checks that the media belong to this database.
        upload_seconds: how long ingest may take to store media. Older uploads are no longer running.
        now: the wall clock. What is received later is new, and stays.
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
        """Erase all data of a client up to now."""
        await self._begin(Erasure(id=uuid4(), client_id=client_id, at=self._now()))

    async def delete_session(self, session: Session) -> None:
        """Delete a session with all exchanges received up to now."""
        await self._begin(Erasure(id=uuid4(), client_id=session.client_id, at=self._now(), session_id=session.id))

    async def delete_message(self, message: Message) -> None:
        """Delete a message. The other message of its exchange stays."""
        keys = tuple(media.key for media in message.content.media)
        client_id = message.exchange.client_id
        await self._begin(Erasure(id=uuid4(), client_id=client_id, at=self._now(), message=message.id, keys=keys))

    async def finish_all(self) -> int:
        """Finish erasures that were interrupted by the end of a process or a failure of a store.

        If media cannot be deleted, such as a locked object, the others go on, and the next sweep tries again.

        Returns:
            How many could not be finished.
        """
        unfinished, began = 0, self._now()
        erasure: Erasure | None = None
        while page := await self._store.erasures.pending(after=erasure):
            for erasure in page:
                if erasure.at > began:  # its own request is finishing it
                    return unfinished
                try:
                    await self._finish(erasure)
                except BlobError as exc:
                    unfinished += 1
                    log.warning("erasure.not_finished", erasure=str(erasure.id), reason=str(exc))
                else:
                    log.info("erasure.finished")  # without the client id, which is erased, too
        return unfinished

    async def is_uploading(self, client_id: str, exchange_id: UUID) -> bool:
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
        """Delete exchanges, then their media. All messages are deleted, even if the media store fails."""
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
            raise failed  # remaining media are found as leftovers later

    async def _end_uploads(self, erasure: Erasure) -> None:
        """Wait for running uploads of erased exchanges, and delete media that other uploads have left.

        Ingest records an upload, and then checks for erasures. So either the upload is seen here, or ingest has seen
        the erasure.
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
        """Delete media of exchanges that are neither stored nor being uploaded, such as those of failed deliveries."""
        if erasure.message is not None:
            return
        async for keys in self._media(erasure):
            # Read the uploads first: one that ended after the media were listed has stored its exchange.
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
