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
"""So many exchanges are deleted by one call."""


class StoreError(Exception):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or does not answer in time. Asking again may work."""


class StoreUnusable(StoreError):
    """The store is there, but not ours to use: damaged, of a newer version, or closed to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """A client uses a session id, perhaps for the first time."""

    session_id: UUID
    client_id: str
    time_zone: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Something that is to be deleted for good, written down until it is.

    Attributes:
        id: its own.
        client_id: whose it is.
        at: what was received later stays.
        session_id: the session; None, and no message: all that the client has.
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
    """Media of an exchange that somebody is storing.

    Attributes:
        id: of this attempt; another delivery of the same exchange has another.
        client_id, session_id, exchange_id, received_at: of the exchange.
        keys: what is stored.
        active: it is under way, or its process has ended without a word.
        age_seconds: how long ago it began, by the clock of the store.
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
    """Where a page of sessions begins: sessions are sorted by start, then id."""

    started_at: datetime
    id: UUID


STAMPS: Final = 32
"""How many stamps a database remembers: pods that write them at once must not push each other's out."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is, see ADR 0008.

    Attributes:
        id: given when the database was made.
        stamps: what was written into the bucket last, oldest first; a backup does not know the newer ones.
        is_copy: the identity was written in another place, and came here with a copy of the data.
    """

    id: UUID
    stamps: tuple[UUID, ...]
    is_copy: bool


class SessionStore(Protocol):
    """The sessions of a message store."""

    async def bind(self, uses: Sequence[FirstUse]) -> list[UUID | None]:
        """Make sessions that are new, and return the ids under which these clients have them, in the same order.

        A session belongs to the client that first used its id, even when it is deleted. The same id from another
        client names another session, see `foreign_session`, so that neither reads the other and no answered message
        is turned away. A session that would begin before its client was erased is not made. None where that other id
        is some other client's, too: somebody has worked it out and was there first.

        No client uses a session id twice in one call. A call takes as many commands for many as for few.
        """

    async def create(self, session: Session) -> None:
        """Make a session whose id is fresh, without exchanges."""

    async def find(self, session_id: UUID, *, client_id: str | None) -> Session | None:
        """Return a session."""

    async def page(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """Return up to `limit` sessions of a client, latest start first, behind `after`."""

    async def stats(self, client_id: str, session_ids: Sequence[UUID]) -> list[SessionStats]:
        """Count what sessions of a client have, in the same order.

        This takes longer the more it is, though only an index is read: it is for where it is shown.
        """

    async def known(self, client_id: str, session_ids: Collection[UUID]) -> set[UUID]:
        """Return those of a client's sessions that were ever made here, though they may be deleted by now.

        The sessions of an erased client are forgotten.
        """

    async def rename(self, session: Session, title: str | None) -> None:
        """Give a session another title, or none; that it is gone meanwhile is fine."""


class ExchangeStore(Protocol):
    """The exchanges of a message store, with the messages in them."""

    async def add(self, exchanges: Sequence[StoredExchange]) -> list[InsertResult]:
        """Keep exchanges, each once however often it is handed in; the outcomes stand in the same order.

        Of the exchanges of a client with one message id the one of the highest `precedence` is kept, whatever comes
        when. It takes the place of the one before: that one is gone, and its media are written down as an erasure. One
        that loses is `SUPERSEDED`; to one that loses against another of the same call, `STORED` may be said.
        """

    async def find(self, exchange_id: UUID, *, client_id: str | None) -> StoredExchange | None:
        """Return an exchange that has a message left."""

    async def find_answer(self, client_id: str, message_id: UUID) -> StoredExchange | None:
        """Return the exchange with what a client calls so, though both of its messages may be deleted."""

    async def claim(self, exchange: StoredExchange, *, rank: int) -> bool:
        """Raise the rank of an exchange to `rank` at least; say whether it and its reply are still there."""

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

        Whoever has read up to a position will never find anything new at or below it, however many add at once. A
        session that was deleted or erased and begins anew goes on behind its old positions.

        Args:
            session: whose exchanges.
            after: the position of the last one that is known; 0: from the first one.
            limit: how many at the most.
        """

    async def last_arrival(self, session: Session) -> int:
        """Return the position of the exchange that was added last, or 0. Whatever is added later comes behind it."""

    async def search(
        self, client_id: str, words: Sequence[str], *, before: MessageId | None, limit: int
    ) -> list[Message]:
        """Return up to `limit` messages of a client that hold all these words, newest first.

        Args:
            client_id: whose messages.
            words: one or more, as `tokenize` returns them.
            before: where to go on: only messages older than this one, which need not be there.
            limit: how many at the most.
        """

    async def media_keys(self, client_id: str, exchange_ids: Collection[UUID]) -> set[str]:
        """Return the keys of all media that these exchanges of a client point at."""


class DeletionStore(Protocol):
    """Deletes for good."""

    async def delete_session(self, client_id: str, session_id: UUID, *, at: datetime) -> list[StoredExchange]:
        """Delete a session with the exchanges that were received up to `at`, for good: `ERASED_AT_ONCE` of these.

        Later ones, sent while it was deleted, stay, and so does the session for them, under no title.

        Returns:
            What was deleted, for its media to follow; fewer than `ERASED_AT_ONCE` when nothing is left.
        """

    async def delete_message(self, client_id: str, message: MessageId) -> None:
        """Delete a message for good; the other one of its exchange stays."""

    async def erase_client(self, client_id: str, *, at: datetime) -> list[StoredExchange]:
        """Delete what a client has up to `at`, for good: exchanges that were received, sessions that had begun.

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
        """Write down what is to be erased."""

    async def pending(self, *, after: Erasure | None = None) -> list[Erasure]:
        """Return what is written down behind `after`, oldest first: at most `ERASED_AT_ONCE`, and none at the end."""

    async def end(self, erasure: Erasure) -> None:
        """Cross out what was erased, and forget the sessions of a client that was."""


class UploadStore(Protocol):
    """Remembers whose media are being stored."""

    async def begin(self, uploads: Sequence[PendingUpload]) -> set[UUID]:
        """Write down whose media are about to be stored; return the exchanges for which that is no use.

        These are here already, or `add` would turn them away. Who erases later sees the others until `end_uploads`.
        """

    async def of_client(self, client_id: str) -> list[PendingUpload]:
        """Return whose media are being stored, or were by a delivery that failed or a process that ended."""

    async def end(self, uploads: Sequence[PendingUpload], *, failed: bool) -> None:
        """Say that nothing more is stored; the latest that failed stays written down until the exchange comes again."""


class IdentityStore(Protocol):
    """Which database this is, see ADR 0008."""

    async def read(self) -> Identity:
        """Return which database this is; `prepare` gives it its id."""

    async def add_stamp(self, stamp: UUID) -> None:
        """Remember a stamp as the latest."""

    async def renew(self) -> None:
        """Give the database another id, here and now, without stamps: what was copied from it or to it is another."""


class MessageStore(Protocol):
    """Keeps sessions and exchanges. Every method of every part may raise StoreUnavailable.

    Where a method takes a `client_id` that may be None, it is whose data may be meant, as far as that is known. A store
    that is spread over machines by client then asks one of them, and else all.

    What was deleted does not come back by a late delivery: an exchange is turned away (`InsertResult.ERASED`) when it
    was received no later than its client was erased or its session deleted, and a deleted message stays deleted.
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
        """Connect, make tables or indexes as needed, and bring older data up to date; may be called again.

        Raises:
            StoreUnusable: the store holds data of a newer version, or is damaged.
        """

    async def close(self) -> None:
        """Let go of the store."""


def replacement(exchange: StoredExchange, earlier: StoredExchange) -> tuple[StoredExchange, Erasure | None]:
    """Return an exchange as it takes the place of an earlier answer, and the erasure of the media that nobody needs."""
    kept = exchange.in_place_of(earlier)
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
