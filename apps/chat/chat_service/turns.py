"""The order of turns: things that may be prepared side by side, but happen one after the other."""

import asyncio


class TurnOrder:
    """Lets numbered turns, counted from 0, pass in order; a turn that will not happen is simply done early."""

    def __init__(self) -> None:
        self._next = 0
        self._done_early: set[int] = set()
        self._waiting: dict[int, asyncio.Event] = {}

    async def wait(self, number: int) -> None:
        """Return when every turn before this one is done."""
        if number > self._next:
            await self._waiting.setdefault(number, asyncio.Event()).wait()

    def done(self, number: int) -> None:
        """Let the turns behind this one pass, now or as soon as those before it are done. May be called twice."""
        if number >= self._next:
            self._done_early.add(number)
        while self._next in self._done_early:
            self._done_early.remove(self._next)
            self._next += 1
        waiter = self._waiting.pop(self._next, None)
        if waiter is not None:
            waiter.set()
