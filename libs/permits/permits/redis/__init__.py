"""The pool that many processes share through Redis or Valkey, and the tools of its operators."""

from permits.redis.operator import PodView, PoolKnown, PoolOperator, PoolUnknown, PoolView, WaiterView, find_pools
from permits.redis.pool import RedisPool

__all__ = ["PodView", "PoolKnown", "PoolOperator", "PoolUnknown", "PoolView", "RedisPool", "WaiterView", "find_pools"]
