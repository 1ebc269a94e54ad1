"""The bytes that a pod may hold for messages, shared fairly by client id.

A part of the bytes is for texts only, so a text never waits for voice and video. Within texts, and within media, a
client that holds something may take more only if it then holds no more than what is then still free. One busy client
therefore gets half, two get a third each, and there is always room for a client that holds nothing yet. Network
switches share their memory by this rule (Choudhury and Hahne, "Dynamic Queue Length Thresholds in a Shared-Memory
Packet Switch", 1998).
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto


class Use(Enum):
    """What bytes are held for."""

    TEXT = auto()
    MEDIA = auto()
    EARLY = auto()  # what a client sends before its handshake is answered; it is not known yet


@dataclass(slots=True, eq=False)
class Charge:
    """The bytes that are held for one message. `resize(0)` gives them back."""

    budget: "FairByteBudget"
    use: Use
    client_id: str
    size_bytes: int

    def resize(self, size_bytes: int) -> None:
        """Hold another number of bytes from now on, over the limit if need be: they are in memory already."""
        self.budget.resize(self, size_bytes)

    def try_resize(self, size_bytes: int) -> bool:
        """Hold another number of bytes if they are free now; say whether they were."""
        if size_bytes - self.size_bytes > self.budget.free(self.use):
            return False
        self.resize(size_bytes)
        return True


@dataclass(slots=True, eq=False)
class _Waiter:
    size_bytes: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class _Share:
    """What is held and waited for in one use; clients who hold nothing do not occur in `held`."""

    used: int = 0
    held: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, deque[_Waiter]] = field(default_factory=dict)

    def add(self, client_id: str, size_bytes: int) -> None:
        self.used += size_bytes
        held = self.held.pop(client_id, 0) + size_bytes
        if held:
            self.held[client_id] = held


class FairByteBudget:
    """The bytes that all connections of a pod hold together. One event loop only; not for threads.

    The waiting client that holds least is served first, and the messages of one client in their order. A message larger
    than the whole budget is let through when nothing else is held; it would wait for ever otherwise.

    Args:
        limit_bytes: the most that may be held at once.
        text_bytes: how many of them are for texts only, less than `limit_bytes`. Texts may also take what media leave.

    Raises:
        ValueError: the sizes do not fit together.
    """

    def __init__(self, limit_bytes: int, *, text_bytes: int) -> None:
        if not 0 <= text_bytes < limit_bytes:
            raise ValueError(f"{text_bytes} bytes for texts must be less than all {limit_bytes} bytes")
        self._limit = limit_bytes
        self._text_bytes = text_bytes
        self._shares = {use: _Share() for use in Use}

    @property
    def used(self) -> int:
        """Bytes held now."""
        return sum(share.used for share in self._shares.values())

    @property
    def waiting(self) -> int:
        """How many messages wait for bytes."""
        return sum(len(line) for share in self._shares.values() for line in share.waiting.values())

    def free(self, use: Use) -> int:
        """Return how many bytes may still be held for this use; below 0 when replies hold more than there are."""
        return self._capacity(use) - self._shares[use].used

    def charge_early(self) -> Charge:
        """Return a charge of no bytes yet for what comes before a handshake is answered."""
        return Charge(self, Use.EARLY, "", 0)

    async def acquire(self, client_id: str, size_bytes: int, use: Use) -> Charge:
        """Wait until this client may hold so many bytes more. A cancelled wait takes nothing."""
        share, charge = self._shares[use], Charge(self, use, client_id, size_bytes)
        waiter = _Waiter(size_bytes, asyncio.get_running_loop().create_future())
        share.waiting.setdefault(client_id, deque()).append(waiter)
        self._serve(use)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in share.waiting.get(client_id, ()):
                _leave(share, client_id, waiter)
                self._serve(use)
            elif not waiter.granted.cancelled():
                charge.resize(0)  # granted, and cancelled before this task ran
            raise
        return charge

    def resize(self, charge: Charge, size_bytes: int) -> None:
        """See `Charge.resize`."""
        self._shares[charge.use].add(charge.client_id, size_bytes - charge.size_bytes)
        charge.size_bytes = size_bytes
        for use in Use:  # bytes that texts give back may be free for media, and the other way round
            self._serve(use)

    def _capacity(self, use: Use) -> int:
        text, media, early = (self._shares[each].used for each in Use)
        match use:
            case Use.TEXT:
                return max(self._text_bytes, self._limit - media - early)
            case Use.MEDIA:
                return self._limit - max(self._text_bytes, text) - early
            case Use.EARLY:
                return self._limit - max(self._text_bytes, text) - media

    def _serve(self, use: Use) -> None:
        """Grant what can be granted, one message a client and round."""
        share, granted = self._shares[use], True
        while share.waiting and granted:
            granted = False
            for client_id in sorted(share.waiting, key=lambda waiting: share.held.get(waiting, 0)):
                size_bytes, held = share.waiting[client_id][0].size_bytes, share.held.get(client_id, 0)
                free = self.free(use)
                if held and held + size_bytes > free - size_bytes:
                    continue  # over its part, so it waits, and others need not
                if size_bytes > free and share.used:
                    return  # next in turn: nobody may take the room that it waits for
                waiter = share.waiting[client_id][0]
                _leave(share, client_id, waiter)
                if not waiter.granted.cancelled():  # its task may have been cancelled and not have run yet
                    share.add(client_id, size_bytes)
                    waiter.granted.set_result(None)
                granted = True


def _leave(share: _Share, client_id: str, waiter: _Waiter) -> None:
    line = share.waiting[client_id]
    line.remove(waiter)
    if not line:
        del share.waiting[client_id]
