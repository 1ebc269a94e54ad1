"""The message store port."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID, uuid5

from frameproto.exchange import Outcome
from history_service.records import EPOCH, KeptExchange, Kind, Media, Part, Session, Side


class StoreError(Exception):
    """The store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, or does not answer in time. Asking again may work."""


class StoreUnusable(StoreError):
    """The store is there, but not ours to use: damaged, of a newer version, or closed to us."""


class Added(StrEnum):
    """What became of an exchange that was handed in."""

    STORED = "stored"
    DUPLICATE = "duplicate"


class SessionTaken(StoreError):
    """Other clients have every id under which this client could have this session."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Where a page of sessions begins: sessions are sorted by start, then id."""

    started_at: datetime
    id: UUID


class MessageStore(Protocol):
    """Keeps sessions and exchanges. Every method may raise StoreUnavailable."""

    async def prepare(self) -> None:
        """Connect, and make tables or indexes as needed; may be called again after it failed.

        Raises:
            StoreUnusable: the store holds data of a newer version, or is damaged.
        """

    async def close(self) -> None:
        """Let go of the store."""

    async def bind_session(self, session_id: UUID, *, client_id: str, time_zone: str, started_at: datetime) -> UUID:
        """Make the session if it is new, and return the id under which this client has it.

        A session belongs to the client that first used its id. The same id from another client names another
        session, see `foreign_session`, so that neither reads the other and no answered message is turned away.

        Raises:
            SessionTaken: that other id is some other client's, too: somebody has worked it out and was there first.
        """

    async def add(self, exchanges: Sequence[KeptExchange]) -> list[Added]:
        """Keep exchanges, each once however often it is handed in; the outcomes stand in the same order."""

    async def exchange(self, exchange_id: UUID) -> KeptExchange | None:
        """Return an exchange."""

    async def exchanges(
        self, session: Session, *, start: UUID | None, backward: bool, limit: int
    ) -> list[KeptExchange]:
        """Return up to `limit` exchanges of a session in the order of their ids, which is the order of their time.

        Args:
            session: whose exchanges.
            start: where to begin, included; None: at the end that the direction begins with.
            backward: newest first.
            limit: how many at the most.
        """

    async def session(self, session_id: UUID) -> Session | None:
        """Return a session."""

    async def sessions(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """Return up to `limit` sessions of a client, latest start first, behind `after`."""


def foreign_session(session_id: UUID, client_id: str) -> UUID:
    """Return the id under which a client has a session whose id another client used first."""
    return uuid5(session_id, client_id)


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(since_1970: int) -> datetime:
    """Return microseconds since 1970 as a moment."""
    return EPOCH + timedelta(microseconds=since_1970)


def side_document(side: Side) -> dict[str, Any]:
    """Return a message as stores write it."""
    return {
        "kind": side.kind.value,
        "text": side.text,
        "media": [{"part": m.part.value, "key": m.key, "size": m.size_bytes} for m in side.media],
    }


def read_side(document: dict[str, Any]) -> Side:
    """Return a message from what `side_document` wrote."""
    media = tuple(Media(Part(m["part"]), m["key"], m["size"]) for m in document["media"])
    return Side(Kind(document["kind"]), document["text"], media)


def read_outcome(raw: str) -> Outcome:
    """Return an outcome from its name."""
    return Outcome(raw)
