"""Which clients of redis-py a pool works with, and how it comes to a connection of its own with each.

A client for one server, with or without Sentinel, makes a connection when it is asked to. A client for a cluster is
asked for the primary of the slot of the pool, with a fresh look at the cluster each time: a connection is made anew
only after the old one broke or was redirected, and then what was known of the cluster may be old.
"""

from typing import Any

from redis.asyncio import ConnectionPool, Redis, RedisCluster

Client = Redis | RedisCluster


def check_store(redis: object) -> None:
    """Refuse what is no client of a store.

    Raises:
        TypeError: it is something else, such as a synchronous client.
    """
    if not isinstance(redis, Redis | RedisCluster):
        kind = f"{type(redis).__module__}.{type(redis).__qualname__}"
        hint = "; import it from redis.asyncio" if kind.startswith("redis.") else ""
        raise TypeError(f"a pool needs a redis.asyncio.Redis or redis.asyncio.RedisCluster, not a {kind}{hint}")
    if isinstance(redis, Redis) and not isinstance(redis.connection_pool, ConnectionPool):
        raise TypeError("this client has a synchronous connection pool; make one of redis.asyncio for it")


async def new_connection(redis: Client, key: str) -> Any:  # noqa: ANN401 - redis-py gives its connections no common type
    """Return a connection that belongs to the caller and is still to be opened.

    Args:
        redis: the client whose settings are used.
        key: one that is stored where the connection should lead; only a cluster wants to know.
    """
    if isinstance(redis, RedisCluster):
        await redis.initialize()  # the client closes only what it began itself
        nodes: Any = redis.nodes_manager
        await nodes.initialize()
        node: Any = redis.get_node_from_key(key)
        return node.connection_class(**node.connection_kwargs)
    connections: Any = redis.connection_pool
    return connections.make_connection()
