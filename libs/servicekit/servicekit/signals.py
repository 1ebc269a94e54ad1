"""SIGTERM and SIGINT as events to wait for."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from servicekit.logs import get_logger

FORCED_EXIT_SECONDS = 2.0
"""How long the program may take to free its resources after a second signal."""

EXIT_FORCED = 1

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_listening: ContextVar["StopSignals"] = ContextVar("stop_signals")
_log = get_logger(__name__)


class StopSignals:
    """Handles SIGTERM and SIGINT, in the main thread only. Elsewhere only the `stop` of `claimed` has an effect.

    Attributes:
        first: done after the first signal, or when `stop` is set: shut down gracefully.
        second: done after the second signal: end at once. After `FORCED_EXIT_SECONDS`, or at a third signal, the
            process exits.
        is_claimed: signals are handled now. Before that the program is starting.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._installed = threading.current_thread() is threading.main_thread()
        self.first: asyncio.Future[None] = self._loop.create_future()
        self.second: asyncio.Future[None] = self._loop.create_future()
        self.is_claimed = False

    def __enter__(self) -> Self:
        if self._installed:
            for number in _SIGNALS:
                self._loop.add_signal_handler(number, self._received, number)
        self._token = _listening.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _listening.reset(self._token)
        # After a second signal the handlers stay, so that a third one has an effect while the program ends.
        if self._installed and not self.second.done():
            for number in _SIGNALS:
                self._loop.remove_signal_handler(number)

    @contextmanager
    def claimed(self, stop: asyncio.Event | None = None) -> Iterator[Self]:
        """Handle signals for the length of a `with` block. `stop` counts as a first signal."""
        self.is_claimed = True
        watch = None if stop is None else asyncio.create_task(self._await(stop), name="stop")
        try:
            yield self
        finally:
            if watch is not None:
                watch.cancel()

    async def _await(self, stop: asyncio.Event) -> None:
        await stop.wait()
        if not self.first.done():
            self.first.set_result(None)

    def _received(self, number: int) -> None:
        if not self.first.done():
            self.first.set_result(None)
        elif not self.second.done():
            self.second.set_result(None)
            self._loop.call_later(FORCED_EXIT_SECONDS, _leave_now)
        else:
            _leave_now()
        _log.info("signal received", signal=signal.Signals(number).name)


def stop_signals() -> AbstractContextManager[StopSignals]:
    """Return the signals that the program around us listens for, or listen for them as long as we are."""
    around = _listening.get(None)
    return StopSignals() if around is None else nullcontext(around)


def leave_with(code: int) -> None:
    """From now on a signal ends this process with `code`: nothing is left to shut down."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, lambda *_: os._exit(code))


def _leave_now() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_FORCED)
