"""A pod for tests to kill: holds all permits of a pool until they are lost, then says so and tries again."""

import asyncio
import sys

from redis.asyncio import Redis

from permits.redis import RedisPool


async def main(url: str, name: str, capacity: int, lease_seconds: float) -> None:
    async with RedisPool(name, redis=Redis.from_url(url), capacity=capacity, lease_seconds=lease_seconds) as pool:
        while True:
            permits = [await pool.acquire(f"client-{n}", wait_seconds=60) for n in range(capacity)]
            sys.stdout.write("holding\n")
            sys.stdout.flush()
            await permits[0].lost()
            sys.stdout.write(f"lost, {sum(permit.valid() for permit in permits)} valid\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
