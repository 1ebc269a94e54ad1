"""The stores that the suites run against."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest

from history_service.stores.base import MessageStore
from history_service.stores.mongo import MongoStore
from history_service.stores.mongo.drivers import MongoDriver
from history_service.stores.sqlite import SqliteStore
from tests.contract.pools import open_pool, store_urls

__all__ = ["open_pool", "store", "store_urls"]


@pytest.fixture(params=["sqlite", *get_args(MongoDriver)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MessageStore]:
    """An empty message store."""
    fresh: MessageStore
    if request.param == "sqlite":
        fresh = SqliteStore(tmp_path / "messages.sqlite")
    else:
        fresh = MongoStore(request.getfixturevalue("mongodb_url"), f"test_{uuid4().hex}", driver=request.param)
    await fresh.prepare()
    yield fresh
    await fresh.close()
