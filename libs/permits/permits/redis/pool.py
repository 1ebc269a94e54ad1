"""The pool that many processes share through Redis or Valkey."""

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from permits.arguments import check_callable, check_pod, check_request, check_seconds, check_terms
from permits.base import Outlook, PermitRequest, PoolState, Verdict
from permits.errors import PermitError, PoolClosed, PoolUnavailable, Reason
from permits.observer import OutcomeReporter, PoolObserver
from permits.pool import Pool
from permits.redis.channel import Reply
from permits.redis.clients import Client, check_store
from permits.redis.dispatch import Dispatch
from permits.redis.keys import DEFAULT_PREFIX, keys_of
from permits.redis.lease import RedisPermit
from permits.redis.open_pool import OpenPool
from permits.redis.pending import place_name_of
from permits.redis.replies import CLIENTS_AT_ONCE, held_by_client
from permits.redis.requests import AcquireRequest, Query
from permits.redis.scripts import Code, LuaScript, load_scripts
from permits.redis.store import Terms

_VERDICTS = {
    Code.GRANTED: Verdict.GRANTED,
    Code.WAITING: Verdict.WAIT,
    Code.CLIENT_LIMIT: Verdict.CLIENT_LIMIT,
    Code.LINE_FULL: Verdict.LINE_FULL,
    Code.LEARNING: Verdict.LEARNING,
}


class RedisPool(Pool):
    """Grants permits in a whole cluster. A pod is a process with this pool; all with the same name and store share it.

    Args:
        name: 1 to 64 letters, digits, `_`, `.` and `-`.
        redis: a client of the store. Only its settings are used; the pool keeps two connections of its own.
        capacity: permits in the whole cluster, 1 to 10,000,000. Of pods with different settings the last to start
            decides, until an operator sets another capacity.
        per_client: how many permits one client may hold and wait for together; None: no limit.
        max_waiting: how many requests may be queued, from 0.
        lease_seconds: 0.01 to 86,400. What this pod holds is lost when the store is out of reach for ¾ of it, and free
            for others within 1⅛ of it after the pod died. A position in the queue is kept for one lease after its wait.
        answer_seconds: how long to wait for an answer of the store; at most a quarter of the lease counts.
        prefix: of all keys, 1 to 200 letters, digits, `_`, `.`, `:` and `-`. Pools of the same name and prefix are one.
        pod: what operators call this process: one word of up to 255 bytes. None: the name of the host.
        observer: is told the outcome of each request.

    Raises:
        ValueError: a number is out of range, or a name is invalid.
        TypeError: an argument is of another type, or `redis` is no client of `redis.asyncio`.
    """

    def __init__(
        self,
        name: str,
        *,
        redis: Client,
        capacity: int,
        per_client: int | None = None,
        max_waiting: int = 1000,
        lease_seconds: float = 15.0,
        answer_seconds: float = 2.0,
        prefix: str = DEFAULT_PREFIX,
        pod: str | None = None,
        observer: PoolObserver | None = None,
    ) -> None:
        check_store(redis)
        check_terms(capacity=capacity, per_client=per_client, max_waiting=max_waiting)
        check_seconds("lease_seconds", lease_seconds)
        check_seconds("answer_seconds", answer_seconds)
        keys_of(name, prefix)
        self._prefix = prefix
        super().__init__(name)
        self._redis = redis
        self._pod = socket.gethostname() if pod is None else pod
        check_pod(self._pod)
        self._reporter = OutcomeReporter(name, observer)
        self._limits = (per_client or 0, max_waiting)
        self._scripts = load_scripts()
        self._terms = Terms(
            capacity=capacity, per_client=per_client, max_waiting=max_waiting, lease_seconds=lease_seconds
        )
        self._answer_seconds = answer_seconds
        self._opened: OpenPool | None = None
        self._closed = False

    def ready(self) -> bool:
        """See `PermitPool.ready`."""
        return self._opened is not None and not self._closed and self._is_ours() and self._opened.ready()

    def condition(self) -> Reason | None:
        """See `PermitPool.condition`."""
        if self._opened is None or not self._is_ours():
            return Reason.LIMITS_UNAVAILABLE
        return Reason.DRAINING if self._closed else self._opened.condition()

    def learning_seconds(self) -> float:
        """See `PermitPool.learning_seconds`."""
        learns = self._opened is not None and self.condition() is Reason.LIMITS_LEARNING
        return self._opened.learning_seconds() if self._opened is not None and learns else 0.0

    async def acquire(self, client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> RedisPermit:
        """See `PermitPool.acquire`."""
        begun_at, dispatch, request = self._new_request(client_id, wait_seconds, wait_id)
        try:
            if self._closed:
                raise PoolClosed
            permit = await dispatch.acquire(request)
        except PermitError as exc:
            self._reporter.refused(begun_at, exc)
            raise
        self._reporter.granted(begun_at, queued=request.ticket > 0)
        return permit

    def request(
        self,
        client_id: str,
        *,
        wait_seconds: float,
        settled: Callable[[PermitRequest], None],
        wait_id: str | None = None,
    ) -> PermitRequest:
        """See `PermitPool.request`."""
        check_callable("settled", settled)
        begun_at, dispatch, request = self._new_request(client_id, wait_seconds, wait_id)
        handle = _RedisRequest(dispatch, request, begun_at, self._reporter, settled)
        try:
            if self._closed:
                raise PoolClosed
            dispatch.begin(request)
        except PermitError as exc:
            request.refuse(exc)
        return handle

    def _new_request(
        self, client_id: str, wait_seconds: float, wait_id: str | None
    ) -> tuple[float, Dispatch, AcquireRequest]:
        """Return when it begins (event loop time), what sends it, and the request."""
        begun_at = self._check_use().time()
        check_request(client_id, wait_seconds, wait_id)
        assert self._opened is not None  # noqa: S101 - `_check_use` has passed
        dispatch = self._opened.dispatch
        deadline = begun_at + wait_seconds if wait_seconds > 0 else None
        return begun_at, dispatch, dispatch.pending.new(client_id, deadline, wait_id)

    async def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """See `PermitPool.peek`."""
        check_request(client_id, 0, wait_id)
        self._check_use()
        if self._closed:
            raise PoolClosed
        place_name = "" if wait_id is None else place_name_of(client_id, wait_id)
        reply = await self._look(self._scripts.peek, client_id, *self._limits, place_name)
        code, place, learning_ms, waited_ms, kept_ms = reply
        waited_seconds = waited_ms / 1000 if kept_ms else None
        return Outlook(_VERDICTS[Code(code)], place, learning_ms / 1000, waited_seconds, kept_ms / 1000)

    async def state(self, *, clients: bool = True) -> PoolState:
        """See `PermitPool.state`."""
        *figures, cursor, words = await self._look(self._scripts.state, "0" if clients else "", CLIENTS_AT_ONCE)
        counts = held_by_client(words)
        while cursor != b"0":
            *_, cursor, words = await self._look(self._scripts.state, cursor.decode(), CLIENTS_AT_ONCE)
            counts |= held_by_client(words)
        held, capacity, high_water, waiting, learning_ms, reaped = figures
        return PoolState(held, capacity, high_water, waiting, counts, learning_ms / 1000, reaped)

    async def _look(self, script: LuaScript, *argv: str | int) -> Reply:
        self._check_use()
        assert self._opened is not None  # noqa: S101 - `_check_use` has passed
        dispatch = self._opened.dispatch
        query = Query(script, argv)
        dispatch.query(query)
        reply = await query.answer
        if reply is None:
            raise PoolUnavailable
        return reply

    async def close(self) -> None:
        """See `PermitPool.close`. Heartbeats go on for what is held, until the `async with` block ends."""
        self._check_loop()
        self._closed = True
        if self._opened is not None and self._is_ours():
            self._opened.dispatch.pending.refuse_all(PoolClosed)

    async def __aenter__(self) -> Self:
        """Open the pool and try once to reach the store. If that fails, the pool is not ready, and goes on trying."""
        self._open()
        opened = self._opened = OpenPool(
            self._redis,
            self.name,
            self._terms,
            prefix=self._prefix,
            pod=self._pod,
            scripts=self._scripts,
            answer_seconds=self._answer_seconds,
            reporter=self._reporter,
        )
        try:
            await opened.tried()
        except BaseException:
            await self.close()
            await opened.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool and give everything back. What is still held counts as lost for those who hold it.

        In a forked process this does nothing: the pool is the parent's.
        """
        await self.close()
        if self._opened is not None and self._is_ours():
            await self._opened.stop()


class _RedisRequest:
    """See `PermitRequest`."""

    __slots__ = ("_begun_at", "_cancelled", "_dispatch", "_reporter", "_request", "_settled")

    def __init__(
        self,
        dispatch: Dispatch,
        request: AcquireRequest,
        begun_at: float,
        reporter: OutcomeReporter,
        settled: Callable[[PermitRequest], None],
    ) -> None:
        self._dispatch = dispatch
        self._request = request
        self._begun_at = begun_at
        self._reporter = reporter
        self._settled = settled
        self._cancelled = False
        request.on_settled(self._tell)

    def _tell(self) -> None:
        if self._cancelled:
            return
        request = self._request
        if request.error is None:
            self._reporter.granted(self._begun_at, queued=request.ticket > 0)
        else:
            self._reporter.refused(self._begun_at, request.error)
        self._settled(self)

    def result(self) -> RedisPermit:
        """See `PermitRequest.result`."""
        return self._request.result()

    def cancel(self) -> None:
        """See `PermitRequest.cancel`."""
        if not self._cancelled:
            self._cancelled = True
            self._dispatch.pending.abandon(self._request)
