"""The clients that a pool works with, on real servers."""

from typing import Any

import pytest
import redis as synchronous
from redis.asyncio import Redis

from permits.redis import PoolOperator, RedisPool


@pytest.mark.parametrize(
    "make", [lambda redis: RedisPool("a", redis=redis, capacity=1), lambda r: PoolOperator("a", r)]
)
def test_what_is_no_client_of_asyncio_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match=r"not a redis.client.Redis; import it from redis.asyncio"):
        make(synchronous.Redis())
    for other in ("redis://127.0.0.1", None, Redis):
        with pytest.raises(TypeError, match=r"needs a redis.asyncio.Redis or redis.asyncio.RedisCluster, not a "):
            make(other)
