"""What every pool offers around `acquire`, and the rule where it may be used.

A pool belongs to the event loop and the process in which it was opened. Every call from elsewhere is refused: after a
fork its connections and timers are only copies, and in another thread access to them is not synchronized.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction
from threading import get_ident
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from permits.arguments import check_client, check_wait
from permits.base import Outlook, PermitRequest, PoolState
from permits.errors import PoolMisuse, Reason
from permits.permit_block import HeldPermit, LossGuard, PermitBlock

ClientOf = str | Callable[..., str]
"""A client id, or a function that takes the arguments of a call and returns one."""

AsyncFunction = TypeVar("AsyncFunction", bound=Callable[..., Awaitable[Any] | AsyncIterator[Any]])


@dataclass(frozen=True, slots=True)
class _Owner:
    """Where a pool was opened. A forked process has another number of forks."""

    loop: asyncio.AbstractEventLoop
    thread: int
    pid: int
    forks: int


_forks = 0
"""How many forks led to this process. Cheaper to read than the process id."""


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - it counts for the whole process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Pool(ABC):
    """A pool that is opened by `async with`, once, and used on that event loop.

    Args:
        name: its name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._owner: _Owner | None = None

    @abstractmethod
    def ready(self) -> bool:
        """See `PermitPool.ready`."""

    @abstractmethod
    def condition(self) -> Reason | None:
        """See `PermitPool.condition`."""

    @abstractmethod
    def learning_seconds(self) -> float:
        """See `PermitPool.learning_seconds`."""

    @abstractmethod
    async def acquire(self, client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> HeldPermit:
        """See `PermitPool.acquire`."""

    @abstractmethod
    def request(
        self,
        client_id: str,
        *,
        wait_seconds: float,
        settled: Callable[[PermitRequest], None],
        wait_id: str | None = None,
    ) -> PermitRequest:
        """See `PermitPool.request`."""

    @abstractmethod
    async def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """See `PermitPool.peek`."""

    @abstractmethod
    async def state(self, *, clients: bool = True) -> PoolState:
        """See `PermitPool.state`."""

    @abstractmethod
    async def close(self) -> None:
        """See `PermitPool.close`."""

    def permit(self, client_id: str, *, wait_seconds: float) -> PermitBlock[HeldPermit]:
        """Hold a permit for the length of an `async with` block.

        When the permit is lost, the block is cancelled and ends with `PermitLost`. Use `acquire` to decide otherwise.

        Args:
            client_id: who asks, as for `acquire`.
            wait_seconds: how long to wait, as for `acquire`.

        Raises:
            PermitError: as `acquire`, before the block; `PermitLost`, out of it.
        """
        return PermitBlock(partial(self.acquire, client_id, wait_seconds=wait_seconds))

    def limited(self, client_id: ClientOf, *, wait_seconds: float) -> Callable[[AsyncFunction], AsyncFunction]:
        """Return a decorator: each call of the function holds a permit, and an async generator until it is closed.

        Args:
            client_id: the client, or a function that returns it, called with the arguments of the call.
            wait_seconds: how long to wait, as for `acquire`.

        Raises:
            TypeError: an argument is of another type, or what is decorated is not an `async def`.
            ValueError: an argument is invalid.
            PermitError: from a call of the function, as from `permit`.
        """
        check_limit(client_id, wait_seconds)

        def decorate(function: AsyncFunction) -> AsyncFunction:
            if isasyncgenfunction(function):
                return cast(AsyncFunction, self._limited_generator(function, client_id, wait_seconds))
            if iscoroutinefunction(function):
                return cast(AsyncFunction, self._limited_coroutine(function, client_id, wait_seconds))
            raise TypeError(
                f"limited() of pool {self.name!r} needs an `async def`, and {name_of(function)} is none; "
                "for plain functions there is permits.sync.SyncPool"
            )

        return decorate

    def _limited_coroutine(
        self, function: Callable[..., Any], client_id: ClientOf, wait_seconds: float
    ) -> Callable[..., Any]:
        @wraps(function)
        async def limited(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the function that is decorated
            async with self.permit(client_of(client_id, args, kwargs), wait_seconds=wait_seconds):
                return await function(*args, **kwargs)

        return limited

    def _limited_generator(
        self, function: Callable[..., Any], client_id: ClientOf, wait_seconds: float
    ) -> Callable[..., Any]:
        @wraps(function)
        async def limited(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401 - as the function
            permit = await self.acquire(client_of(client_id, args, kwargs), wait_seconds=wait_seconds)
            guard = LossGuard(permit)
            try:
                async with aclosing(function(*args, **kwargs)) as generator:
                    step = partial(generator.asend, None)
                    while True:
                        try:
                            async with guard:  # the consumer, which runs between two items, is not cancelled
                                value = await step()
                        except StopAsyncIteration:
                            return
                        try:
                            step = partial(generator.asend, (yield value))
                        except GeneratorExit:
                            raise
                        except BaseException as exc:  # noqa: BLE001 - `athrow` of the function's own generator
                            step = partial(generator.athrow, exc)
            finally:
                guard.stop()
                permit.release()

        return limited

    def _open(self) -> None:
        """Open the pool.

        Raises:
            PoolMisuse: it was opened before.
        """
        if self._owner is not None:
            raise PoolMisuse(f"pool {self.name!r} was opened before; a pool is opened once, so make another")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # of trio
            raise PoolMisuse(f"pool {self.name!r} needs a running event loop of asyncio") from None
        self._owner = _Owner(loop, get_ident(), os.getpid(), _forks)

    def _is_ours(self) -> bool:
        """Say whether this process has opened the pool, and not a process that it was forked from."""
        return self._owner is not None and self._owner.forks == _forks

    def _check_loop(self) -> None:
        """Check that the pool, if it is open in this process, is used on its event loop.

        Raises:
            PoolMisuse: it was opened on another.
        """
        if self._is_ours():
            self._check_use()

    def _check_use(self) -> asyncio.AbstractEventLoop:
        """Check that the pool is used where it was opened; return the event loop.

        Raises:
            PoolMisuse: the pool is not open, or was opened elsewhere.
        """
        owner = self._owner
        if owner is None:
            raise PoolMisuse(f"pool {self.name!r} is not open; use it within `async with pool:`")
        if owner.forks != _forks:
            raise PoolMisuse(
                f"pool {self.name!r} was opened by process {owner.pid}, of which this one is a fork; "
                "open a pool in each process, after the fork"
            )
        if owner.loop is not asyncio.get_running_loop():
            raise PoolMisuse(
                f"pool {self.name!r} belongs to another event loop; open a pool on each, "
                "or share one between threads with permits.sync.SyncPool"
            )
        return owner.loop

    @abstractmethod
    async def __aenter__(self) -> Self:
        """See `PermitPool.__aenter__`."""

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """See `PermitPool.__aexit__`."""


def check_limit(client_id: object, wait_seconds: object) -> None:
    """Check the arguments of a decorator.

    Raises:
        TypeError: one of them is of another type.
        ValueError: one of them is invalid.
    """
    check_wait(wait_seconds)
    if not callable(client_id):
        check_client(client_id)
    elif iscoroutinefunction(client_id):
        raise TypeError(f"client_id must be text or a plain function, and {name_of(client_id)} is an `async def`")


def client_of(client_id: ClientOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the client of a call with these arguments."""
    return client_id if isinstance(client_id, str) else client_id(*args, **kwargs)


def name_of(function: object) -> str:
    """Return the name of a function for messages."""
    return getattr(function, "__qualname__", None) or repr(function)
