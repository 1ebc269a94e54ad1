"""The pool of many pods."""

import asyncio
import logging
import socket
from types import TracebackType
from typing import Self
from uuid import uuid4

from redis.asyncio import Redis

from permits.base import Outlook, PoolState, Verdict
from permits.errors import PermitError, PoolClosed, PoolUnavailable
from permits.observer import PoolObserver, Report
from permits.pool import Pool
from permits.redis.dispatch import Dispatch
from permits.redis.keys import channel_of
from permits.redis.lease import RedisPermit
from permits.redis.link import Link, Reply, StoreLost
from permits.redis.notices import Notices
from permits.redis.requests import Ask, Question
from permits.redis.scripts import Code, load_scripts
from permits.redis.store import Store, Terms

log = logging.getLogger(__name__)

_VERDICTS = {
    Code.GRANTED: Verdict.GRANTED,
    Code.WAITING: Verdict.WAIT,
    Code.CLIENT_LIMIT: Verdict.CLIENT_LIMIT,
    Code.LINE_FULL: Verdict.LINE_FULL,
}


class RedisPool(Pool):
    """Hands out permits of a whole cluster; every pod that uses the same name and store shares them.

    Args:
        name: which pool; letters, digits, `_`, `.` and `-`.
        redis: a client of the store. Only its settings are used; the pool keeps two connections of its own.
        capacity: permits there are, at least 1. Seeds the store; `docs/permits.md` says when it counts later.
        per_client: permits one client may hold and wait for; None: no limit of its own.
        max_waiting: how many may stand in line.
        lease_seconds: how long this pod may be out of touch with the store before what it holds is lost.
        answer_seconds: how long to wait for the store before a caller is refused; at most a quarter of the lease.
        pod: what operators call this process; the host's name by default.
        observer: is told what becomes of those who ask.

    Raises:
        ValueError: a number is out of range, or a name cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: Redis,
        capacity: int,
        per_client: int | None = None,
        max_waiting: int = 1000,
        lease_seconds: float = 15.0,
        answer_seconds: float = 2.0,
        pod: str | None = None,
        observer: PoolObserver | None = None,
    ) -> None:
        if capacity < 1 or lease_seconds <= 0 or answer_seconds <= 0:
            raise ValueError("capacity, lease_seconds and answer_seconds must be positive")
        super().__init__(name)
        self._report = Report(name, observer)
        self._limits = (per_client or 0, max_waiting)
        self._process = f"{_one_word(pod or socket.gethostname())}/{uuid4().hex}"
        self._scripts = load_scripts()
        terms = Terms(capacity=capacity, per_client=per_client, max_waiting=max_waiting, lease_seconds=lease_seconds)
        self._store = Store(Link(redis, self._scripts.all()), self._scripts, name, terms)
        self._dispatch = Dispatch(
            self._store,
            self._process,
            lease_seconds=lease_seconds,
            answer_seconds=answer_seconds,
            on_lost=self._report.lost,
        )
        self._notices = Notices(
            redis,
            channel_of(name, self._process),
            hear=self._dispatch.hear,
            on_subscribed=self._dispatch.beat_soon,
            patience_seconds=lease_seconds / 3,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    def ready(self) -> bool:
        """See `PermitPool.ready`."""
        return self._dispatch.entered.is_set() and not self._closed

    async def acquire(self, client_id: str, *, wait_seconds: float) -> RedisPermit:
        """See `PermitPool.acquire`."""
        begun_at = self._check_use().time()
        ask = Ask(client_id, begun_at + wait_seconds if wait_seconds > 0 else None)
        try:
            if self._closed:
                raise PoolClosed
            permit = await self._dispatch.acquire(ask)
        except PermitError as refusal:
            self._report.refused(begun_at, refusal)
            raise
        self._report.granted(begun_at, in_line=ask.ticket > 0)
        return permit

    async def peek(self, client_id: str) -> Outlook:
        """See `PermitPool.peek`."""
        self._check_use()
        if self._closed:
            raise PoolClosed
        code, place = await self._look(Question(self._scripts.peek, (client_id, *self._limits)))
        return Outlook(_VERDICTS[Code(code)], place)

    async def state(self) -> PoolState:
        """See `PermitPool.state`."""
        held, capacity, high_water, waiting, learning_ms, reaped, *words = await self._look(
            Question(self._scripts.state)
        )
        counts = iter(words)
        clients = {client.decode(): int(count) for client, count in zip(counts, counts, strict=True)}
        return PoolState(held, capacity, high_water, waiting, clients, learning_ms / 1000, reaped)

    async def _look(self, question: Question) -> Reply:
        self._check_use()
        self._dispatch.question(question)
        reply = await question.answer
        if reply is None:
            raise PoolUnavailable
        return reply

    async def close(self) -> None:
        """See `PermitPool.close`. Heartbeats go on for what is held, until the `async with` block ends."""
        self._closed = True
        self._dispatch.refuse_all(PoolClosed)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(end, Exception):
                log.error("permits: a task of pool %s had died", self.name, exc_info=end)
        try:
            await self._dispatch.say_goodbye()
        except (StoreLost, TimeoutError) as error:
            log.warning("permits: pool %s could not say goodbye (%s); its lease will end", self.name, error)
        finally:
            await self._store.close()

    async def __aenter__(self) -> Self:
        """Start, and try to enter. A store that is out of reach makes the pool unready; it goes on trying."""
        self._open()
        self._tasks = [
            asyncio.create_task(self._dispatch.run(), name=f"permits-{self.name}"),
            asyncio.create_task(self._notices.run(), name=f"permits-{self.name}-notices"),
        ]
        try:
            await self._dispatch.tried.wait()
            await self._notices.tried.wait()
        except BaseException:
            await self.close()
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool and give everything back. What is still held counts as lost for those who hold it."""
        await self.close()
        await self._stop()


def _one_word(pod: str) -> str:
    if not pod or any(letter.isspace() for letter in pod):
        raise ValueError(f"a pod's name is one word, not {pod!r}")
    return pod
