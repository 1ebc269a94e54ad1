"""Indexes and migrations."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import DESCENDING, IndexModel, UpdateOne
from pymongo.errors import OperationFailure

from history_service.stores.base import StoreUnusable
from history_service.stores.encoding import read_content
from history_service.stores.mongo.documents import words_document

SCHEMA_VERSION: Final = 3
BATCH: Final = 500
INDEX_NOT_FOUND: Final = 27

INDEXES: Final[Mapping[str, Sequence[IndexModel]]] = {
    "sessions": [
        IndexModel([("client_id", 1), ("started_us", DESCENDING), ("_id", DESCENDING)], name="of_client"),
    ],
    "exchanges": [
        IndexModel(
            [("client_id", 1), ("session_id", 1), ("_id", 1), ("answered_us", 1), ("messages", 1)], name="in_order"
        ),
        IndexModel([("client_id", 1), ("session_id", 1), ("position", 1)], name="by_arrival"),
        IndexModel([("client_id", 1), ("words", 1), ("_id", 1)], name="by_word"),
        IndexModel([("answered_us", 1)], name="by_age"),
        IndexModel(
            [("client_id", 1), ("message_id", 1)],
            name="by_message_id",
            unique=True,
            partialFilterExpression={"message_id": {"$exists": True}},
        ),
    ],
    "erased": [
        IndexModel([("client_id", 1)], name="of_client"),
    ],
    "erasures": [
        IndexModel([("at_us", 1), ("_id", 1)], name="in_order"),
    ],
    "uploads": [
        IndexModel([("client_id", 1)], name="of_client"),
        IndexModel([("since", 1)], name="forgotten", expireAfterSeconds=7 * 86_400),
    ],
}
"""All indexes. Creating an existing one changes nothing, so every pod does it when it starts."""

REPLACED: Final = {"exchanges": ["of_session"]}
"""Indexes of older schemas, by collection."""


async def bring_up_to_date(database: Any) -> None:  # noqa: ANN401 - a database of the driver
    """Migrate the database to this schema. Several pods may do so at once.

    The version is written last: a pod that is stopped half-way leaves the rest to the next.

    Raises:
        StoreUnusable: it holds data of a newer version.
    """
    schema = await database["schema"].find_one({"_id": "version"})
    if schema is not None and schema["version"] > SCHEMA_VERSION:
        raise StoreUnusable(
            f"the database was written by a newer version (schema {schema['version']}; this one knows {SCHEMA_VERSION})"
        )
    for collection, indexes in INDEXES.items():
        await database[collection].create_indexes(list(indexes))
    if schema is not None and schema["version"] < 2:  # noqa: PLR2004 - the schema that brought word lists
        await _fill_word_lists(database)
        for collection, names in REPLACED.items():
            for name in names:
                await _drop_index(database[collection], name)
    if schema is not None and schema["version"] < 3:  # noqa: PLR2004 - symbols became words, the dot of an i counts no more
        await _renew_word_lists(database)
    await database["schema"].update_one({"_id": "version"}, {"$max": {"version": SCHEMA_VERSION}}, upsert=True)


async def _drop_index(collection: Any, name: str) -> None:  # noqa: ANN401 - a collection of the driver
    try:
        await collection.drop_index(name)
    except OperationFailure as exc:  # another pod was first
        if exc.code != INDEX_NOT_FOUND:
            raise


async def _fill_word_lists(database: Any) -> None:  # noqa: ANN401
    """Write into exchanges of schema 1 what they lack: the word list, and how many messages are left."""
    exchanges = database["exchanges"]
    found = exchanges.find({"words": {"$exists": False}}, ["client_id", "request", "reply"], batch_size=BATCH)
    while documents := await found.to_list(BATCH):
        await exchanges.bulk_write(
            [
                UpdateOne(
                    # Skip one that another pod has changed meanwhile.
                    {"_id": document["_id"], "client_id": document["client_id"], "words": {"$exists": False}},
                    {
                        "$set": {
                            "messages": 2,
                            "words": words_document(read_content(document["request"]), read_content(document["reply"])),
                        }
                    },
                )
                for document in documents
            ],
            ordered=False,
        )


async def _renew_word_lists(database: Any) -> None:  # noqa: ANN401
    """Rewrite word lists that have changed."""
    exchanges = database["exchanges"]
    found = exchanges.find({}, ["client_id", "request", "reply", "words"], batch_size=BATCH)
    while documents := await found.to_list(BATCH):
        renewed = [
            (document, words_document(read_content(document["request"]), read_content(document["reply"])))
            for document in documents
        ]
        changes = [
            UpdateOne(
                # Skip one that was changed meanwhile by a deletion or another pod.
                {"_id": document["_id"], "client_id": document["client_id"], "words": document["words"]},
                {"$set": {"words": words}},
            )
            for document, words in renewed
            if words != document["words"]
        ]
        if changes:
            await exchanges.bulk_write(changes, ordered=False)
