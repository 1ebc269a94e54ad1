"""The bytes that a pod may hold for messages, shared fairly by client id.

A part of the bytes is for texts only, so a text never waits for voice and video. Within texts, and within media, a
client that holds something may take more only if it then holds no more than what is then still free. One busy client
therefore gets half, two get a third each, and there is always room for a client that holds nothing yet. Network
switches share their memory by this rule (Choudhury and Hahne, "Dynamic Queue Length Thresholds in a Shared-Memory
Packet Switch", 1998).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class Use(IntEnum):
    """What bytes are held for; the place of its share."""

    TEXT = 0
    MEDIA = 1
    EARLY = 2  # what a client sends before its handshake is answered; it is not known yet


_TEXT: Final = Use.TEXT  # looked up once, as in `conversation.py`


class Charge:
    """The bytes that are held for one message, or waited for. `resize(0)` and `cancel` give them back.

    Attributes:
        size_bytes: held, or waited for.
        is_granted: whether they are held.
        on_granted: is told when they are, after a wait; None: nobody is.
    """

    __slots__ = ("_budget", "client_id", "is_granted", "on_granted", "size_bytes", "use")

    def __init__(
        self,
        budget: "FairByteBudget",
        use: Use,
        client_id: str,
        size_bytes: int,
        on_granted: "Callable[[Charge], None] | None" = None,
    ) -> None:
        self._budget = budget
        self.on_granted = on_granted
        self.use = use
        self.client_id = client_id
        self.size_bytes = size_bytes
        self.is_granted = on_granted is None  # nobody waits for it, so it holds nothing yet, and that at once

    def resize(self, size_bytes: int) -> None:
        """Hold another number of bytes from now on, over the limit if need be: they are in memory already."""
        self._budget.resize(self, size_bytes)

    def try_resize(self, size_bytes: int) -> bool:
        """Hold another number of bytes if they are free now; say whether they were."""
        if size_bytes - self.size_bytes > self._budget.free(self.use):
            return False
        self.resize(size_bytes)
        return True

    def cancel(self) -> None:
        """Hold nothing, wait no more and tell nobody. Idempotent."""
        self.on_granted = None
        if self.is_granted:
            self.resize(0)
        else:
            self._budget.leave(self)

    def grant(self) -> None:
        """The bytes are held from now on; whoever waits is told from the event loop."""
        self.is_granted = True
        asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self.on_granted is not None:
            self.on_granted(self)


@dataclass(slots=True)
class _Share:
    """What is held and waited for in one use; clients who hold nothing do not occur in `held`."""

    used: int = 0
    held: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, deque[Charge]] = field(default_factory=dict)

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
        self._shares = tuple(_Share() for _ in Use)

    @property
    def used(self) -> int:
        """Bytes held now."""
        return sum(share.used for share in self._shares)

    @property
    def waiting(self) -> int:
        """How many messages wait for bytes."""
        return sum(len(line) for share in self._shares for line in share.waiting.values())

    def free(self, use: Use) -> int:
        """Return how many bytes may still be held for this use; below 0 when replies hold more than there are."""
        return self._capacity(use) - self._shares[use].used

    def charge_early(self) -> Charge:
        """Return a charge of no bytes yet for what comes before a handshake is answered."""
        return Charge(self, Use.EARLY, "", 0)

    def request(self, client_id: str, size_bytes: int, use: Use, on_granted: Callable[[Charge], None]) -> Charge:
        """Ask for so many bytes for this client.

        Returns a charge that is granted already, or one that waits; then `on_granted` is called with it once, from the
        event loop, unless it is cancelled before.
        """
        share, charge = self._shares[use], Charge(self, use, client_id, size_bytes, on_granted)
        if not share.waiting and self._fits(share, client_id, size_bytes, use):
            share.add(client_id, size_bytes)
            charge.is_granted = True
            return charge
        share.waiting.setdefault(client_id, deque()).append(charge)
        self._serve(use)
        if charge.is_granted:
            charge.on_granted = None  # the caller knows
        return charge

    def leave(self, charge: Charge) -> None:
        """Let a charge wait no more, if it does."""
        share = self._shares[charge.use]
        if charge in share.waiting.get(charge.client_id, ()):
            _leave(share, charge)
            self._serve(charge.use)

    def resize(self, charge: Charge, size_bytes: int) -> None:
        """See `Charge.resize`."""
        self._shares[charge.use].add(charge.client_id, size_bytes - charge.size_bytes)
        charge.size_bytes = size_bytes
        for use in Use if self._has_waiting() else ():  # bytes of texts may be free for media, and the other way round
            self._serve(use)

    def _has_waiting(self) -> bool:
        text, media, early = self._shares
        return bool(text.waiting or media.waiting or early.waiting)

    def _capacity(self, use: Use) -> int:
        text, media, early = self._shares
        if use is _TEXT:
            return max(self._text_bytes, self._limit - media.used - early.used)
        match use:
            case Use.MEDIA:
                return self._limit - max(self._text_bytes, text.used) - early.used
            case Use.EARLY:
                return self._limit - max(self._text_bytes, text.used) - media.used

    def _fits(self, share: _Share, client_id: str, size_bytes: int, use: Use) -> bool:
        """Say whether a client may take so many bytes when nobody waits for any."""
        held, free = share.held.get(client_id, 0), self.free(use)
        return not (held and held + size_bytes > free - size_bytes) and not (size_bytes > free and share.used)

    def _serve(self, use: Use) -> None:
        """Grant what can be granted, one message a client and round."""
        share, granted = self._shares[use], True
        while share.waiting and granted:
            granted = False
            for client_id in sorted(share.waiting, key=lambda waiting: share.held.get(waiting, 0)):
                charge, held = share.waiting[client_id][0], share.held.get(client_id, 0)
                size_bytes, free = charge.size_bytes, self.free(use)
                if held and held + size_bytes > free - size_bytes:
                    continue  # over its part, so it waits, and others need not
                if size_bytes > free and share.used:
                    return  # next in turn: nobody may take the room that it waits for
                _leave(share, charge)
                share.add(client_id, size_bytes)
                charge.grant()
                granted = True


def _leave(share: _Share, charge: Charge) -> None:
    line = share.waiting[charge.client_id]
    line.remove(charge)
    if not line:
        del share.waiting[charge.client_id]
