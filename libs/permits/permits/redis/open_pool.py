"""All of a pool that belongs to one process and one event loop: connections, tasks, the name of this pod."""

import asyncio
import logging
from uuid import uuid4

from permits.errors import Reason
from permits.observer import OutcomeReporter
from permits.redis.channel import Channel, StoreLost
from permits.redis.clients import Client
from permits.redis.dispatch import Dispatch
from permits.redis.grant_listener import GrantListener
from permits.redis.keys import DEFAULT_PREFIX, channel_of, keys_of
from permits.redis.replies import Condition
from permits.redis.scripts import LuaScripts
from permits.redis.store import Store, Terms
from permits.redis.throughput import LEAD

log = logging.getLogger(__name__)


class OpenPool:
    """All of a pool that belongs to one process and one event loop: connections, tasks, the name of this pod.

    It is made as the pool is opened, so that processes that are forked off between the making of a pool and its opening
    have names of their own.
    """

    def __init__(
        self,
        redis: Client,
        name: str,
        terms: Terms,
        *,
        prefix: str,
        pod: str,
        scripts: LuaScripts,
        answer_seconds: float,
        reporter: OutcomeReporter,
    ) -> None:
        self._name = name
        self._prefix_option = "" if prefix == DEFAULT_PREFIX else f" --prefix {prefix}"
        self._setting = terms.capacity
        self._capacity = terms.capacity
        self._loop = asyncio.get_running_loop()  # kept, so that other threads can ask how the pool is
        self._learned_at = 0.0  # event loop time
        process = f"{pod}/{uuid4().hex}"
        channel = Channel(redis, scripts.all(), keys_of(name, prefix)[0], lead=LEAD)
        self._store = Store(channel, scripts, name, terms, prefix=prefix)
        self.dispatch = Dispatch(
            self._store,
            process,
            lease_seconds=terms.lease_seconds,
            answer_seconds=answer_seconds,
            on_lost=reporter.lost,
            on_fault=reporter.failed,
            on_news=self._hear_news,
        )
        self._listener = GrantListener(
            redis,
            channel_of(name, process, prefix),
            hear=self.dispatch.session.hear,
            on_fault=reporter.failed,
            on_subscribed=self.dispatch.session.beat_soon,
            silence_seconds=terms.lease_seconds / 3,
        )
        self._tasks = [
            asyncio.create_task(self.dispatch.run(), name=f"permits-{name}"),
            asyncio.create_task(self._listener.run(), name=f"permits-{name}-notices"),
        ]

    def condition(self) -> Reason | None:
        """See `PermitPool.condition`."""
        if self.dispatch.out_of_touch or not self.ready():
            return Reason.LIMITS_UNAVAILABLE
        return Reason.LIMITS_LEARNING if self.learning_seconds() else None

    def learning_seconds(self) -> float:
        """Return for how much longer nothing new is granted, by what the store said last."""
        return max(0.0, self._learned_at - self._loop.time())

    def _hear_news(self, condition: Condition) -> None:
        """Take in how the pool is, and log when it begins to learn or its capacity is not that of the settings."""
        learned = not self.learning_seconds()
        self._learned_at = self._loop.time() + condition.learning_seconds
        if learned and condition.learning_seconds:
            log.warning(
                "permits: pool %s grants nothing new for %.0f s more: the store may have forgotten who holds permits; "
                "`permits trust %s%s` ends that when nobody holds any",
                self._name,
                condition.learning_seconds,
                self._name,
                self._prefix_option,
            )
        capacity = condition.capacity
        if capacity != self._capacity:
            self._capacity = capacity
            if capacity != self._setting:
                log.warning(
                    "permits: pool %s has a capacity of %d, and the settings of this pod say %d; "
                    "it was set by hand, or by pods with other settings",
                    self._name,
                    capacity,
                    self._setting,
                )

    def ready(self) -> bool:
        """Say whether the store has let this pod in, and nothing is wrong with the pod itself.

        Its tasks end only when somebody else cancels them, such as a program that cancels all tasks of its event loop.
        """
        works = not self.dispatch.failing and not any(task.done() for task in self._tasks)
        return works and self.dispatch.session.entered.is_set()

    async def tried(self) -> None:
        """Return when it was tried to enter and to subscribe, with or without success."""
        await self.dispatch.tried.wait()
        await self._listener.tried.wait()

    async def stop(self) -> None:
        """Let go of everything, in a task of its own: the caller may be cancelled already, or be so again meanwhile.

        That takes bounded time. A cancellation of the caller is raised afterwards.
        """
        stopping = asyncio.create_task(self._stop(), name=f"permits-{self._name}-stop")
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.wait([stopping])
            except asyncio.CancelledError as exc:
                cancelled = exc
        stopping.result()
        if cancelled is not None:
            raise cancelled

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            for end in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(end, Exception):
                    log.error("permits: a task of pool %s had died", self._name, exc_info=end)
            await self.dispatch.leave()
        except (StoreLost, TimeoutError) as exc:
            log.warning(
                "permits: pool %s could not give its permits back (%s); they are free when its lease ends",
                self._name,
                exc,
            )
        finally:
            await self._store.close()
