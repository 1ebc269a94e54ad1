"""How many exchanges history takes in, beside the bare driver with the same documents."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import WriteConcern

from bench.history.exchanges import encode, ingest, make_batch, wait_until_ready
from bench.history.servers import Servers
from bench.history.terms import HistoryTerms, Step
from bench.samples import Sample

OURS = "POST /v1/exchanges"
BARE = "insert_many"
WRITERS = (1, 4)
DATABASE = "ingest"


@dataclass(frozen=True, slots=True)
class IngestFigures:
    """What one contender took in.

    Attributes:
        contender: its name.
        writers: how many handed in at the same time.
        per_second: exchanges.
    """

    contender: str
    writers: int
    per_second: Sample


async def measure(servers: Servers, terms: HistoryTerms, step: Step) -> list[IngestFigures]:
    """Measure both contenders, with one writer and with several."""
    pod = servers.pod(DATABASE)
    client: Any = AsyncIOMotorClient(servers.mongodb_url)
    options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    database = client.get_database(DATABASE, codec_options=options, write_concern=WriteConcern("majority"))
    speeds: dict[tuple[str, int], list[float]] = {}
    async with aiohttp.ClientSession() as http:
        await wait_until_ready(http, pod)
        await ingest(http, pod, encode(make_batch(terms.batch)))
        await _index_like(database["exchanges"], database["bare"])
        for _ in range(terms.repeats):
            for writers in WRITERS:
                bodies = [encode(make_batch(terms.batch)) for _ in range(terms.batches)]
                speed = await _timed(terms, writers, bodies, lambda body: ingest(http, pod, body))
                speeds.setdefault((OURS, writers), []).append(speed)
                step(f"{OURS}, {writers} at once", 1)
                documents = await database["exchanges"].find().sort("_id", -1).to_list(terms.batches * terms.batch)
                batches = [_fresh(documents[at :: terms.batches]) for at in range(terms.batches)]
                speed = await _timed(
                    terms, writers, batches, lambda batch: database["bare"].insert_many(batch, ordered=False)
                )
                speeds.setdefault((BARE, writers), []).append(speed)
                step(f"{BARE}, {writers} at once", 1)
    client.close()
    return [IngestFigures(name, writers, Sample(tuple(found))) for (name, writers), found in speeds.items()]


async def _index_like(model: Any, bare: Any) -> None:  # noqa: ANN401 - collections of the driver
    """Give the bare collection the indexes that ours has: to write them is part of keeping a document."""
    for name, facts in (await model.index_information()).items():
        if name != "_id_":
            await bare.create_index(facts["key"], name=name)


def _fresh(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**document, "_id": uuid4()} for document in documents]


async def _timed(terms: HistoryTerms, writers: int, batches: Sequence[Any], deliver: Any) -> float:  # noqa: ANN401 - of either
    """Deliver batches by so many at a time; return exchanges per second."""
    left = iter(batches)

    async def writer() -> None:
        for batch in left:
            await deliver(batch)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    return terms.batches * terms.batch / (time.perf_counter() - began)
