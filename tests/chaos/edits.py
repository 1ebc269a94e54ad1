"""What somebody's hand may change in the keys of a pool. Each of these is noticed before it does
harm (docs/permits.md).

Left out is what counts until the next heartbeat notices it, such as a larger capacity.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis

from permits.redis.keys import keys_of
from tests.chaos import terms

KEYS: Mapping[str, str] = {key.rpartition(":")[2]: key for key in keys_of(terms.POOL)}
Edit = Callable[["Redis", random.Random], Awaitable[object]]


async def _some(redis: "Redis", key: str, chance: random.Random) -> list[str]:
    """Return the names of one to five fields of a hash, as far as there are any."""
    found: Any = await redis.hkeys(KEYS[key])
    fields = [bytes(field).decode() for field in found]
    return chance.sample(fields, min(len(fields), chance.randint(1, 5)))


async def delete_permits(redis: "Redis", chance: random.Random) -> None:
    """Take away some of the permits that are held."""
    await redis.hdel(KEYS["permits"], *await _some(redis, "permits", chance), "none")


async def add_permit(redis: "Redis", _: random.Random) -> None:
    """Add a permit that nobody was granted."""
    await redis.hset(KEYS["permits"], "by-hand", f"{1:032} nobody.1 v0")


async def corrupt_permit(redis: "Redis", chance: random.Random) -> None:
    """Make records of permits unreadable, and add one: their number tells."""
    for field in await _some(redis, "permits", chance):
        await redis.hset(KEYS["permits"], field, "?")
    await add_permit(redis, chance)


async def delete_waiters(redis: "Redis", chance: random.Random) -> None:
    """Take away the records of some waiters, and put in others in no line."""
    await redis.hset(KEYS["waiters"], "by-hand", f"{1:032} nobody.1 1 1 0 v0")
    await redis.hdel(KEYS["waiters"], *(await _some(redis, "waiters", chance))[:1], "none")
    await redis.zadd(KEYS["line"], {"by-hand-2": 1, "by-hand-3": 2})


async def delete_line(redis: "Redis", _: random.Random) -> None:
    """Take away the whole line; the waiters' records stay."""
    await redis.delete(KEYS["line"])
    await redis.zadd(KEYS["line"], {"by-hand": 1})


async def delete_pods(redis: "Redis", _: random.Random) -> None:
    """Take away all pods; their leases stay."""
    await redis.delete(KEYS["pods"])


async def change_type(redis: "Redis", chance: random.Random) -> None:
    """Put something else in the place of a key."""
    key = KEYS[chance.choice(["leases", "clients", "waiters", "pods_held"])]
    async with redis.pipeline(transaction=True) as together:
        together.delete(key)
        together.set(key, "?")
        await together.execute()


async def set_tickets_back(redis: "Redis", _: random.Random) -> None:
    """Let tickets begin anew."""
    await redis.hset(KEYS["pool"], "tickets", 5)


async def change_count(redis: "Redis", _: random.Random) -> None:
    """Say that a client holds more than it does; that is noticed once a lease."""
    await redis.hincrby(KEYS["clients"], "by-hand", 7)


async def delete_pool(redis: "Redis", _: random.Random) -> None:
    """Take away the numbers of the pool, and nothing else."""
    await redis.delete(KEYS["pool"])


EDITS: Mapping[str, Edit] = {
    "permits are deleted": delete_permits,
    "a permit is added": add_permit,
    "permits are made unreadable": corrupt_permit,
    "waiters are deleted and others added": delete_waiters,
    "the line is deleted": delete_line,
    "the pods are deleted": delete_pods,
    "a key holds another type": change_type,
    "the tickets are set back": set_tickets_back,
    "a count is changed": change_count,
    "the numbers of the pool are deleted": delete_pool,
}
