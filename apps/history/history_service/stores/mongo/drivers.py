"""The drivers for MongoDB: Motor, and its successor, PyMongo's own asynchronous client. See ADR 0004.

The two differ in what has to be awaited; `settled` hides that.
"""

import inspect
from typing import Any, Literal, assert_never

from pymongo import AsyncMongoClient

MongoDriver = Literal["motor", "pymongo"]


def open_client(driver: MongoDriver, url: str, **options: Any) -> Any:  # noqa: ANN401 - a client of either driver
    """Return a client. It connects at its first use."""
    match driver:
        case "pymongo":
            return AsyncMongoClient(url, **options)
        case "motor":
            from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - so that it can be left out

            return AsyncIOMotorClient(url, **options)
        case _:
            assert_never(driver)


async def settled(result: Any) -> Any:  # noqa: ANN401
    """Return the result of a call that one driver returns at once and the other lets be awaited."""
    return await result if inspect.isawaitable(result) else result
