"""A bucket belongs to one database, and only that one may delete from it (ADR 0008).

The database has an id, and the marker of the bucket holds the same id. Both also hold the stamp of the last sweep. A
backup or copy of the database has the same id, but lacks later stamps.
"""

import json
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

from history_service.blobs.base import BlobMissing, BlobStore
from history_service.media_keys import MARKER, MediaKey, by_client
from history_service.stores.base import MessageStore
from servicekit.logs import get_logger

log = get_logger(__name__)

SAMPLE: Final = 200
"""How many media are checked before a bucket without a marker is claimed."""
MARKER_BYTES: Final = 4096
COMMAND: Final = "python -m history_service adopt-bucket"


class Refusal(StrEnum):
    """Why a database may not delete from a bucket."""

    FOREIGN = "foreign"
    COPY = "copy"
    STALE = "stale"
    UNKNOWN_MEDIA = "unknown_media"
    MARKER_UNREADABLE = "marker_unreadable"


WHY: Final = {
    Refusal.FOREIGN: "The bucket belongs to another database",
    Refusal.COPY: "This database is a copy, and the bucket belongs to the original",
    Refusal.STALE: "This database is older than the bucket: it was restored from a backup, or is used in two places",
    Refusal.UNKNOWN_MEDIA: "The bucket has no owner yet, and holds media that this database does not know",
    Refusal.MARKER_UNREADABLE: f"The marker {MARKER} in the bucket cannot be read",
}
WHAT_TO_DO: Final = (
    "Nothing is deleted. If the address of the database, the bucket or HISTORY_S3_PREFIX is wrong, correct it; if this"
    f" database is to own these media from now on, run `{COMMAND}`."
)


class BucketRefused(Exception):
    """Nothing may be deleted from the bucket."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{WHY[refusal]}. {WHAT_TO_DO}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Marker:
    """The marker of a bucket: its database, and the stamp of the last sweep."""

    database: UUID
    stamp: UUID

    def encode(self) -> bytes:
        """Return the stored form of the marker, with an explanation for people."""
        about = "This bucket belongs to one database of the chatbot's history. Do not delete or copy this object."
        return json.dumps({"database": str(self.database), "stamp": str(self.stamp), "about": about}).encode()


class BucketClaim:
    """Compares the database with the bucket, and claims a bucket without an owner.

    Args:
        store: the messages.
        blobs: the media.
        max_unknown_share: the largest share of media of unknown sessions in a bucket that is claimed.
    """

    def __init__(self, store: MessageStore, blobs: BlobStore, *, max_unknown_share: float) -> None:
        self._store = store
        self._blobs = blobs
        self._max_unknown_share = max_unknown_share

    async def require(self) -> None:
        """Check that this database may delete from the bucket. A bucket without an owner is claimed if its media fit.

        Raises:
            BucketRefused: it may not.
        """
        refusal = await self._compare()
        if refusal is not None:
            raise BucketRefused(refusal)

    async def renew(self) -> None:
        """Write a new stamp into both, so that copies made of the database before it can be recognized.

        Raises:
            BucketRefused: the bucket belongs to another database.
        """
        await self.require()
        stamp = uuid4()
        # The database first: a marker with an unknown stamp counts as foreign.
        await self._store.identity.add_stamp(stamp)
        identity = await self._store.identity.read()
        await self._blobs.put(MARKER, Marker(identity.id, stamp).encode(), "application/json")

    async def adopt(self) -> None:
        """Make this database the owner of the bucket, whatever its marker says. Only on an operator's request."""
        await self._store.identity.renew()
        stamp = uuid4()
        await self._store.identity.add_stamp(stamp)
        identity = await self._store.identity.read()
        await self._blobs.put(MARKER, Marker(identity.id, stamp).encode(), "application/json")
        log.info("bucket.adopted", database=str(identity.id))

    async def _compare(self) -> Refusal | None:
        try:
            marker = await self.marker() or await self._take()
        except ValueError:
            return Refusal.MARKER_UNREADABLE
        if isinstance(marker, Refusal):
            return marker
        identity = await self._store.identity.read()  # read last: a stamp is in the database before it is in the marker
        if marker.database != identity.id:
            return Refusal.FOREIGN
        if identity.is_copy:
            return Refusal.COPY
        return None if marker.stamp in identity.stamps else Refusal.STALE

    async def marker(self) -> Marker | None:
        """Return the marker of the bucket; None: it has none.

        Raises:
            ValueError: it cannot be read.
        """
        content = b""
        try:
            async with self._blobs.open(MARKER) as blob:
                async for chunk in blob.chunks:
                    content += chunk
                    if len(content) > MARKER_BYTES:
                        raise ValueError("the marker is too long")
        except BlobMissing:
            return None
        read = json.loads(content)
        try:
            return Marker(UUID(read["database"]), UUID(read["stamp"]))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError("the marker lacks its members") from exc

    async def _take(self) -> Marker | Refusal:
        """Claim a bucket without a marker, if its media are known here. Return its marker then."""
        identity = await self._store.identity.read()
        if identity.is_copy:
            return Refusal.COPY
        looked_at, unknown = await self._sample()
        if unknown > self._max_unknown_share * looked_at:
            return Refusal.UNKNOWN_MEDIA
        mine = Marker(identity.id, uuid4())
        await self._store.identity.add_stamp(mine.stamp)
        if await self._blobs.create(MARKER, mine.encode(), "application/json"):
            log.info("bucket.claimed", database=str(identity.id), media_known=looked_at - unknown)
        return await self.marker() or Refusal.MARKER_UNREADABLE  # another database may have been faster

    async def _sample(self) -> tuple[int, int]:
        """Check some of the media; return how many, and how many belong to unknown sessions."""
        keys: list[MediaKey] = []
        async with aclosing(self._blobs.list("")) as found:  # type: ignore[type-var]
            async for each in found:
                key = MediaKey.parse(each.key)
                if key is not None:
                    keys.append(key)
                if len(keys) == SAMPLE:
                    break
        unknown = 0
        for client_id, theirs in by_client(keys).items():
            known = await self._store.sessions.known(client_id, {key.session_id for key in theirs})
            unknown += sum(key.session_id not in known for key in theirs)
        return len(keys), unknown
