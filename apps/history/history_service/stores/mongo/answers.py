"""Which of several answers to one message is kept, see `ExchangeStore.add`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from history_service.model import StoredExchange
from history_service.stores.base import Erasure, replacement
from history_service.stores.mongo.database import Document, MongoDatabase
from history_service.stores.mongo.documents import read_exchange
from history_service.stores.mongo.erasures import erasure_document

BY_MESSAGE_ID: Final = "by_message_id"

Answers = dict[tuple[str, UUID], StoredExchange]
"""By client and message id."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision about exchanges that are added together.

    Attributes:
        fresh: those to insert, in the form to store.
        superseded: those that lose against a later answer.
        replaced: those that are stored and lose, with their clients.
        erasures: the media that are no longer needed.
    """

    fresh: dict[UUID, StoredExchange] = field(default_factory=dict)
    superseded: set[UUID] = field(default_factory=set)
    replaced: dict[UUID, str] = field(default_factory=dict)
    erasures: list[Erasure] = field(default_factory=list)


def choose(exchanges: Sequence[StoredExchange], known: Collection[UUID], answers: Answers) -> Choice:
    """Decide about exchanges, given the `known` ids and the answers that are stored."""
    choice, answers = Choice(), dict(answers)
    for exchange in exchanges:
        if exchange.id in known or exchange.id in choice.fresh or exchange.id in choice.superseded:
            continue
        kept = exchange
        if exchange.message_id is not None:
            name = exchange.client_id, exchange.message_id
            earlier = answers.get(name)
            if earlier is not None and exchange.precedence < earlier.precedence:
                choice.superseded.add(exchange.id)
                continue
            if earlier is not None:
                kept, erasure = replacement(exchange, earlier)
                choice.erasures.extend([erasure] if erasure is not None else [])
                if choice.fresh.pop(earlier.id, None) is None:
                    choice.replaced[earlier.id] = earlier.client_id
                else:
                    choice.superseded.add(earlier.id)
            answers[name] = kept
        choice.fresh[exchange.id] = kept
    return choice


async def stored_answers(db: MongoDatabase, exchanges: Sequence[StoredExchange], transaction: Any) -> Answers:  # noqa: ANN401 - a session of the driver
    """Return the stored answers to the messages of these exchanges."""
    wanted = {(one.client_id, one.message_id) for one in exchanges if one.message_id is not None}
    if not wanted:
        return {}
    query: Document = {
        "client_id": {"$in": sorted({client_id for client_id, _ in wanted})},
        "message_id": {"$in": list({message_id for _, message_id in wanted})},
    }
    found = db.exchanges.find(query, hint=BY_MESSAGE_ID, session=transaction)
    stored = [read_exchange(document) for document in await found.to_list(None)]
    return {(one.client_id, one.message_id): one for one in stored if one.message_id is not None}


async def make_room(db: MongoDatabase, choice: Choice, transaction: Any) -> None:  # noqa: ANN401 - a session of the driver
    """Delete replaced exchanges, and record the erasure of their media."""
    if choice.replaced:
        clients = sorted(set(choice.replaced.values()))
        query = {"client_id": {"$in": clients}, "_id": {"$in": list(choice.replaced)}}
        await db.exchanges.delete_many(query, session=transaction)
    if choice.erasures:
        documents = [erasure_document(each) for each in choice.erasures]
        await db.database["erasures"].insert_many(documents, session=transaction)
