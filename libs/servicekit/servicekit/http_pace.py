"""Time limits for HTTP peers: one that stalls holds a connection, a file descriptor, and perhaps part of a store."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one HTTP connection.

    Attributes:
        max_head_bytes: how large the head of a request may be.
        head_seconds: how long it may take to arrive, from the connection or from its own first byte on.
        body_seconds: how long a body may take to arrive.
        idle_seconds: how long a connection is kept without a request, and how long the unread rest of a body may
                take.
        stall_seconds: the time over which the least rate is measured.
        min_bytes_per_second: the least rate at which a peer must send a body or receive a response.
    """

    max_head_bytes: int = 64 * 1024
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    idle_seconds: float = 5.0
    stall_seconds: float = 10.0
    min_bytes_per_second: int = 2048


class LeastRate:
    """Gives up a peer that transfers data too slowly.

    Args:
        limits: the least rate, and the time over which it is measured.
        progress: returns the bytes transferred; None while the peer can't make progress.
        give_up: called when the peer was too slow.
    """

    def __init__(self, limits: HttpLimits, progress: Callable[[], int | None], give_up: Callable[[], None]) -> None:
        self._limits = limits
        self._progress = progress
        self._give_up = give_up
        self._mark: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start measuring, if not started already."""
        if self._timer is None:
            self._mark = self._progress()
            self._timer = asyncio.get_running_loop().call_later(self._limits.stall_seconds, self._look)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        before, now = self._mark, self._progress()
        least = self._limits.min_bytes_per_second * self._limits.stall_seconds
        if before is not None and now is not None and now - before < least:
            self._give_up()
        else:
            self.start()


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has not received yet, including those in the kernel where it reports them."""
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    try:
        told = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # not supported by every system, and the socket may be closed
        return waiting
    return waiting + int(struct.unpack("i", told)[0])
