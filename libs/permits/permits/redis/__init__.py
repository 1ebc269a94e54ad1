"""The pool of many pods, with its truth in Redis or Valkey, and what its operators use."""

from permits.redis.operator import PodView, PoolKnown, PoolOperator, PoolUnknown, PoolView, WaiterView, find_pools
from permits.redis.pool import RedisPool

__all__ = ["PodView", "PoolKnown", "PoolOperator", "PoolUnknown", "PoolView", "RedisPool", "WaiterView", "find_pools"]
