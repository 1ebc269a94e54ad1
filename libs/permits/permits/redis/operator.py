"""Shows and changes a pool. The `permits` command is made of this."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from permits.arguments import MOST_PROCESS_BYTES, check_count, check_pod
from permits.base import PoolState
from permits.errors import PoolUnavailable
from permits.redis.clients import Client, check_store
from permits.redis.hints import with_hint
from permits.redis.keys import DEFAULT_PREFIX, every_pool, keys_of, pool_of, script_keys_of
from permits.redis.replies import CLIENTS_AT_ONCE, held_by_client
from permits.redis.scripts import CallStatus, LuaScript, load_scripts

LINE_SHOWN: Final = 100
PODS_AT_ONCE: Final = 250
SCANNED_AT_ONCE: Final = 1000


class PoolUnknown(Exception):
    """Nobody has used this pool yet, or the store has forgotten it."""


class PoolKnown(Exception):
    """This pool was used before."""


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod.

    Attributes:
        name: the process, `host/uuid`.
        incarnation: 1, and one more after each lease that was lost.
        lease_left_seconds: negative when the lease is over and no other pod has removed this one yet.
        held: permits that it holds.
        waiting: waiters that came through it.
        refused: whether an operator refuses to renew its lease.
        capacity: what its settings say.
    """

    name: str
    incarnation: int
    lease_left_seconds: float
    held: int
    waiting: int
    refused: bool
    capacity: int


@dataclass(frozen=True, slots=True)
class WaiterView:
    """A queued request.

    Attributes:
        ticket: the number taken on arrival.
        client_id: who waits.
        pod: the process that asked.
        waiting_seconds: for how long already.
        left_seconds: for how much longer at most.
    """

    ticket: int
    client_id: str
    pod: str
    waiting_seconds: float
    left_seconds: float


@dataclass(frozen=True, slots=True)
class PoolView:
    """All of a pool at one moment. More than some hundred pods or clients are read in several calls.

    Attributes:
        state: the figures.
        pods: by name.
        line: the head of the queue, up to 100 requests.
        refused: processes that an operator refuses.
        epoch: when the store began to remember, in milliseconds since 1970.
        capacity_version: how often the capacity was set.
        jumps: how often pool time was held back, because the server's clock jumped or all pods were silent.
    """

    state: PoolState
    pods: Sequence[PodView]
    line: Sequence[WaiterView]
    refused: frozenset[str]
    epoch: int
    capacity_version: int
    jumps: int


async def find_pools(redis: Client, prefix: str = DEFAULT_PREFIX) -> list[str]:
    """Return the names of all pools in a store whose keys begin so.

    Raises:
        TypeError: this is no client of `redis.asyncio`, or the prefix is not text.
        ValueError: this cannot be a prefix.
        PoolUnavailable: the store cannot be asked.
    """
    check_store(redis)
    keys_of("pool", prefix)
    names = set()
    with _asking():
        async for key in redis.scan_iter(match=every_pool(prefix), count=SCANNED_AT_ONCE):
            names.add(pool_of(_text(key), prefix))
    return sorted(name for name in names if name is not None)


async def in_cluster(redis: Redis) -> bool:
    """Say whether this server is one of a cluster. One that does not say so is none.

    Raises:
        PoolUnavailable: the store cannot be asked.
    """
    with _asking():
        try:
            told: Any = await redis.info("cluster")
        except ResponseError:  # not permitted
            return False
    return bool(told.get("cluster_enabled"))


class PoolOperator:
    """Shows and changes one pool.

    Args:
        name: which pool.
        redis: a client of the store.
        prefix: of its keys.

    Raises:
        ValueError: this cannot be the name of a pool, or its prefix.
        TypeError: this is no client of `redis.asyncio`.
    """

    def __init__(self, name: str, redis: Client, prefix: str = DEFAULT_PREFIX) -> None:
        check_store(redis)
        self.name = name
        self._prefix = prefix
        self._redis = redis
        self._keys = script_keys_of(name, prefix)
        self._scripts = load_scripts()

    async def show(self) -> PoolView:
        """Return the pool as it is now.

        Raises:
            PoolUnknown: there is no such pool.
            PoolUnavailable: the store cannot be asked.
        """
        figures, cursor, words, pods_cursor, pods, line, refused, more = await self._page("0")
        clients = held_by_client(words)
        while _text(cursor) != "0":
            *_, cursor, words = await self._run(self._scripts.state, cursor, CLIENTS_AT_ONCE)
            clients |= held_by_client(words)
        while _text(pods_cursor) != "0":
            *_, pods_cursor, more_pods, _, _, _ = await self._page(pods_cursor)
            pods += more_pods
        epoch, capacity_version, jumps = more
        if not epoch:
            raise PoolUnknown(f"there is no pool called {self.name} with the prefix {self._prefix} here")
        shut_out = frozenset(_text(pod) for pod in refused)
        return PoolView(
            state=_state(figures, clients),
            pods=[
                view for _, view in sorted({(pod.name, pod.incarnation): pod for pod in _pods(pods, shut_out)}.items())
            ],
            line=tuple(_line(line)),
            refused=shut_out,
            epoch=epoch,
            capacity_version=capacity_version,
            jumps=jumps,
        )

    async def _page(self, pods_cursor: str | bytes) -> Any:  # noqa: ANN401 - as Redis answers
        return await self._run(self._scripts.show, LINE_SHOWN, CLIENTS_AT_ONCE, pods_cursor, PODS_AT_ONCE)

    async def set_capacity(self, capacity: int) -> None:
        """Change how many permits there are, for all pods at once. Nothing is revoked; what is free goes to the queue.

        Raises:
            ValueError: it is no whole number from 1 to 10,000,000.
            PoolUnknown: there is no such pool.
            PoolUnavailable: the store cannot be asked, or the numbers of the pool were changed by hand a moment ago.
        """
        check_count("capacity", capacity)
        await self._set("capacity", capacity)

    async def refuse(self, pod: str) -> None:
        """Do not renew the lease of a process any more. What it holds is free when its lease ends.

        Raises:
            TypeError: the name is not text.
            ValueError: the name is invalid.
            PoolUnknown: there is no such pool.
            PoolUnavailable: the store cannot be asked.
        """
        check_pod(pod, MOST_PROCESS_BYTES)
        await self._set("refuse", pod)

    async def allow(self, pod: str) -> None:
        """Let a refused process in again. Raises as `refuse`."""
        check_pod(pod, MOST_PROCESS_BYTES)
        await self._set("allow", pod)

    async def trust(self) -> None:
        """End the learning. Call it only when nobody holds a permit that the store does not know.

        Raises as `set_capacity`.
        """
        await self._set("trust", "")

    async def begin(self) -> None:
        """Make a pool whose first pods need not learn. Call it only when nobody holds a permit of it.

        Raises:
            PoolKnown: somebody has used it, or a pod is connected that does.
            PoolUnavailable: the store cannot be asked.
        """
        status, *_ = await self._run(self._scripts.set, "new", "")
        if CallStatus(status) is not CallStatus.DONE:
            raise PoolKnown(
                f"pool {self.name} has been used here before, or a pod is connected; `trust` ends its learning"
            )

    async def _set(self, what: str, value: str | int) -> None:
        status, *rest = await self._run(self._scripts.set, what, value)
        if CallStatus(status) is not CallStatus.DONE:
            raise PoolUnknown(f"there is no pool called {self.name} with the prefix {self._prefix} here")
        while rest[-1]:  # there is more to hand out than one call may
            _, *rest = await self._run(self._scripts.set, "serve", "")

    async def _run(self, script: LuaScript, *argv: str | bytes | int) -> Any:  # noqa: ANN401 - as Redis answers
        client: Any = self._redis  # its execute_command has no type
        with _asking():
            return await client.execute_command("EVAL", script.text, len(self._keys), *self._keys, *argv)


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as exc:
        raise PoolUnavailable(f"the store cannot be asked: {with_hint(str(exc))}") from exc


def _text(word: bytes | str) -> str:
    """Return a word that may have been written by hand, from a client that decodes replies or one that does not."""
    return word if isinstance(word, str) else word.decode(errors="replace")


def _state(figures: Sequence[int], clients: Mapping[str, int]) -> PoolState:
    held, capacity, high_water, waiting, learning_ms, reaped = figures
    return PoolState(held, capacity, high_water, waiting, clients, learning_ms / 1000, reaped)


def _pods(words: Sequence[Any], refused: frozenset[str]) -> Iterator[PodView]:
    for at in range(0, len(words), 5):
        incarnation, left_ms, held, waiting, capacity = words[at : at + 5]
        name, _, number = _text(incarnation).rpartition(".")
        yield PodView(name, int(number), left_ms / 1000, held, waiting, name in refused, capacity)


def _line(words: Sequence[Any]) -> Iterator[WaiterView]:
    for at in range(0, len(words), 6):
        _, ticket, incarnation, since_ms, left_ms, client = words[at : at + 6]
        pod = _text(incarnation).rpartition(".")[0]
        yield WaiterView(ticket, _text(client), pod, since_ms / 1000, left_ms / 1000)
