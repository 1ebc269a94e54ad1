"""Blocks that hold a permit and are cancelled when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from permits.base import Permit
from permits.errors import PermitLost, PoolMisuse


class HeldPermit(Permit, Protocol):
    """A permit as the pools of this package return it."""

    def counts(self) -> bool:
        """Return what `valid` would, without side effects, so that other threads may call it."""


HeldPermit_co = TypeVar("HeldPermit_co", bound=HeldPermit, covariant=True)


class PermitBlock(Generic[HeldPermit_co]):
    """An `async with` block that holds a permit and is cancelled when the permit is lost. For one use.

    Args:
        acquire: gets the permit.
    """

    def __init__(self, acquire: Callable[[], Awaitable[HeldPermit_co]]) -> None:
        self._acquire = acquire
        self._held: tuple[HeldPermit_co, LossGuard] | None = None
        self._entered = False

    async def __aenter__(self) -> HeldPermit_co:
        """Wait for the permit."""
        if self._entered:
            raise PoolMisuse("a permit's block is entered once; call permit() for each")
        self._entered = True
        permit = await self._acquire()
        guard = LossGuard(permit)
        self._held = permit, guard
        guard.enter()
        return permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the permit back."""
        if self._held is not None:
            permit, guard = self._held
            permit.release()
            guard.stop()
            await guard.__aexit__(kind, error, traceback)


class LossGuard:
    """Cancels the body of `async with guard:` when a permit is lost, and raises `PermitLost`.

    Args:
        permit: the permit. It is watched until `stop` is called.
    """

    def __init__(self, permit: HeldPermit) -> None:
        self._permit = permit
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0  # pending cancellations when the block began
        self._lost = False
        self._cancelled = False
        self._watch = asyncio.create_task(self._wait_for_loss())

    def stop(self) -> None:
        """Stop watching."""
        self._watch.cancel()

    def enter(self) -> None:
        """Begin a block. After the loss no block can begin.

        Raises:
            PermitLost: the permit is lost already.
        """
        if self._lost:
            raise PermitLost
        self._task = asyncio.current_task()
        self._cancels = 0 if self._task is None else self._task.cancelling()

    async def _wait_for_loss(self) -> None:
        await self._permit.lost()
        self._lost = True
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    async def __aenter__(self) -> None:
        """Begin a block. Raises as `enter`."""
        self.enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the block. A cancellation by others takes precedence over `PermitLost`."""
        task, self._task = self._task, None
        if not self._cancelled or task is None:
            return
        if task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise PermitLost from error
