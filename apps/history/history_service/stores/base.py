"""The message store port."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID, uuid4, uuid5

from frameproto.history import Direction, InsertResult
from history_service.model import (
    Message,
    MessageId,
    Session,
    SessionStats,
    StoredExchange,
)

ERASED_AT_ONCE: Final = 500
"""How many exchanges one call deletes."""


class StoreError(Exception):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or does not answer in time. A retry may work."""


class StoreUnusable(StoreError):
    """The store can be reached but not used: damaged, of a newer version, or access denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The use of a session id by a client, perhaps the first."""

    session_id: UUID
    client_id: str
    time_zone: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """A recorded permanent deletion. The record is removed when it is finished.

    Attributes:
        id: the id of the erasure.
        client_id: the client.
        at: exchanges received later stay.
        session_id: the session; None, without a message: all data of the client.
        message: the message.
        keys: the media of the message.
    """

    id: UUID
    client_id: str
    at: datetime
    session_id: UUID | None = None
    message: MessageId | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUpload:
    """A recorded upload of the media of an exchange.

    Attributes:
        id: of this attempt; each delivery of an exchange has its own.
        client_id, session_id, exchange_id, received_at: of the exchange.
        keys: the media.
        active: it is running, or its process died.
        age_seconds: time since its start, by the clock of the store.
    """

    id: UUID
    client_id: str
    session_id: UUID
    exchange_id: UUID
    received_at: datetime
    keys: tuple[str, ...]
    active: bool = True
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The position of a page of sessions, which are sorted by start, then id."""

    started_at: datetime
    id: UUID


STAMPS: Final = 32
"""How many stamps a database keeps: pods that write them at once must not displace each other's."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is, see ADR 0008.

    Attributes:
        id: set when the database was created.
        stamps: the last stamps written into the bucket, oldest first. A backup lacks the newer ones.
        is_copy: the identity was written by another database, and was copied with the data.
    """

    id: UUID
    stamps: tuple[UUID, ...]
    is_copy: bool


class SessionStore(Protocol):
    """The sessions of a message store."""

    async def bind(self, uses: Sequence[FirstUse]) -> list[UUID | None]:
        """Create new sessions. Return the ids under which the clients have their sessions, in the same order.

        A session belongs to the client that first used its id, even after it is deleted. The same id from another
        client names another session, see `foreign_session`, so that neither client reads the other's and no answered
        message is refused. A session that would begin before the erasure of its client is not created. None: the other
        id is taken by yet another client, who must have computed it.

        No client may use a session id twice in one call. The number of commands does not depend on the number of
        sessions.
        """

    async def create(self, session: Session) -> None:
        """Create an empty session with a new id."""

    async def find(self, session_id: UUID, *, client_id: str | None) -> Session | None:
        """Return a session."""

    async def page(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """Return up to `limit` sessions of a client, latest start first, behind `after`."""

    async def stats(self, client_id: str, session_ids: Sequence[UUID]) -> list[SessionStats]:
        """Return the stats of sessions of a client, in the same order.

        The time grows with the number of exchanges, although only an index is read. Use it only to show the counts.
        """

    async def known(self, client_id: str, session_ids: Collection[UUID]) -> set[UUID]:
        """Return those of a client's sessions that were ever created here, including deleted ones.

        The sessions of an erased client are forgotten.
        """

    async def rename(self, session: Session, title: str | None) -> None:
        """Set or remove the title of a session. Does nothing if it was deleted meanwhile."""


class ExchangeStore(Protocol):
    """The exchanges of a message store, with the messages in them."""

    async def add(self, exchanges: Sequence[StoredExchange]) -> list[InsertResult]:
        """Store exchanges, each once however often it is delivered. The results are in the same order.

        Of a client's exchanges with the same message id, the one of the highest `precedence` is kept, in whatever order
        they come. It replaces the earlier one, whose media are recorded as an erasure. One that loses is `SUPERSEDED`;
        one that loses against another of the same call may be reported as `STORED`.
        """

    async def find(self, exchange_id: UUID, *, client_id: str | None) -> StoredExchange | None:
        """Return an exchange that has a message left."""

    async def find_answer(self, client_id: str, message_id: UUID) -> StoredExchange | None:
        """Return the exchange with this message id, even if both of its messages are deleted."""

    async def claim(self, exchange: StoredExchange, *, rank: int) -> bool:
        """Raise the rank of an exchange to at least `rank`. Return whether it and its reply still exist."""

    async def page(self, session: Session, *, start: UUID | None, backward: bool, limit: int) -> list[StoredExchange]:
        """Return up to `limit` exchanges of a session in the order of their ids, which is the order of their time.

        Args:
            session: whose exchanges.
            start: where to begin, included; None: at the end that the direction begins with.
            backward: newest first.
            limit: how many at the most.
        """

    async def arrivals(self, session: Session, *, after: int, limit: int) -> list[tuple[int, StoredExchange]]:
        """Return up to `limit` exchanges of a session in the order in which they were added, with their positions.

        A reader at a position never misses a later exchange at or below it, even with concurrent writers. A session
        that was deleted or erased and is used again continues behind its old positions.

        Args:
            session: whose exchanges.
            after: the position of the last one that is known; 0: from the first one.
            limit: how many at the most.
        """

    async def last_arrival(self, session: Session) -> int:
        """Return the position of the last exchange added, or 0. Later ones get higher positions."""

    async def search(
        self, client_id: str, words: Sequence[str], *, before: MessageId | None, limit: int
    ) -> list[Message]:
        """Return up to `limit` messages of a client that hold all these words, newest first.

        Args:
            client_id: whose messages.
            words: one or more, as `tokenize` returns them.
            before: only messages older than this one, which may have been deleted.
            limit: how many at the most.
        """

    async def media_keys(self, client_id: str, exchange_ids: Collection[UUID]) -> set[str]:
        """Return the keys of all media of these exchanges of a client."""


class DeletionStore(Protocol):
    """Deletes for good."""

    async def delete_session(self, client_id: str, session_id: UUID, *, at: datetime) -> list[StoredExchange]:
        """Delete a session with the exchanges that were received up to `at`, for good: `ERASED_AT_ONCE` of these.

        Later exchanges stay, and keep the session, without its title.

        Returns:
            What was deleted, for its media to follow; fewer than `ERASED_AT_ONCE` when nothing is left.
        """

    async def delete_message(self, client_id: str, message: MessageId) -> None:
        """Delete a message for good; the other one of its exchange stays."""

    async def erase_client(self, client_id: str, *, at: datetime) -> list[StoredExchange]:
        """Delete the exchanges received and the sessions begun by a client up to `at`, for good.

        Returns:
            What was deleted, for its media to follow; fewer than `ERASED_AT_ONCE` when nothing is left.
        """

    async def count_expired(self, before: datetime) -> tuple[int, int]:
        """Return how many exchanges were answered before then, and how many there are, which may be an estimate."""

    async def expire(self, before: datetime, *, limit: int) -> list[StoredExchange]:
        """Delete up to `limit` exchanges that were answered before then, and sessions that are empty for it.

        Returns:
            What was deleted, for its media to follow; fewer than `limit` when nothing older is left.
        """


class ErasureStore(Protocol):
    """Remembers what is to be erased until it is."""

    async def begin(self, erasure: Erasure) -> None:
        """Record an erasure."""

    async def pending(self, *, after: Erasure | None = None) -> list[Erasure]:
        """Return recorded erasures behind `after`, oldest first: at most `ERASED_AT_ONCE`; none at the end."""

    async def end(self, erasure: Erasure) -> None:
        """Remove the record of a finished erasure. After that of a client, its sessions are forgotten."""


class UploadStore(Protocol):
    """Remembers whose media are being stored."""

    async def begin(self, uploads: Sequence[PendingUpload]) -> set[UUID]:
        """Record uploads. Return the exchanges whose media are not needed.

        Those are stored already, or `add` would refuse them. Later erasures see the other uploads until `end`.
        """

    async def of_client(self, client_id: str) -> list[PendingUpload]:
        """Return the uploads of a client, including those of failed deliveries and dead processes."""

    async def end(self, uploads: Sequence[PendingUpload], *, failed: bool) -> None:
        """Record the end of uploads. The latest failed one is kept until the exchange is delivered again."""


class IdentityStore(Protocol):
    """Which database this is, see ADR 0008."""

    async def read(self) -> Identity:
        """Return the identity; `prepare` creates it."""

    async def add_stamp(self, stamp: UUID) -> None:
        """Add the latest stamp."""

    async def renew(self) -> None:
        """Give the database a new id without stamps, so that it differs from its copies."""


class MessageStore(Protocol):
    """Keeps sessions and exchanges. Every method of every part may raise StoreUnavailable.

    A `client_id` that may be None is the owner of the data, if known. A store that is sharded by client then queries
    one shard, otherwise all.

    A late delivery does not restore deleted data: an exchange is refused (`InsertResult.ERASED`) if it was received
    before its client was erased or its session deleted, and a deleted message stays deleted.
    """

    @property
    def sessions(self) -> SessionStore:
        """The sessions of a message store."""

    @property
    def exchanges(self) -> ExchangeStore:
        """The exchanges of a message store, with the messages in them."""

    @property
    def deletions(self) -> DeletionStore:
        """Deletes for good."""

    @property
    def erasures(self) -> ErasureStore:
        """Remembers what is to be erased until it is."""

    @property
    def uploads(self) -> UploadStore:
        """Remembers whose media are being stored."""

    @property
    def identity(self) -> IdentityStore:
        """Which database this is, see ADR 0008."""

    async def prepare(self) -> None:
        """Connect, create tables or indexes, and migrate older data. May be called again.

        Raises:
            StoreUnusable: the store holds data of a newer version, or is damaged.
        """

    async def close(self) -> None:
        """Close the store."""


def replacement(exchange: StoredExchange, earlier: StoredExchange) -> tuple[StoredExchange, Erasure | None]:
    """Return an exchange as the replacement of an earlier answer, and the erasure of unneeded media."""
    kept = exchange.as_replacement_of(earlier)
    keys = (earlier.media_keys() | exchange.media_keys()) - kept.media_keys()
    if not keys:
        return kept, None
    return kept, Erasure(
        id=uuid4(),
        client_id=earlier.client_id,
        at=datetime.now(UTC),
        message=MessageId(earlier.id, Direction.REPLY),
        keys=tuple(sorted(keys)),
    )


def foreign_session(session_id: UUID, client_id: str) -> UUID:
    """Return the id under which a client has a session whose id another client used first."""
    return uuid5(session_id, client_id)
