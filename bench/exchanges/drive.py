"""Sends requests over many connections and notes how long each reply took."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.exchanges.cores import MICROSECONDS, clock_us
from bench.exchanges.wire import Peer

PATIENCE_SECONDS = 300.0
TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the client saw.

    Attributes:
        seconds: how long it all took.
        latencies_us: of each reply.
        late_us: how late the client itself sent each request of an open loop.
    """

    seconds: float
    latencies_us: list[float]
    late_us: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Exchanges per second."""
        return len(self.latencies_us) / self.seconds


async def closed_loop(peers: Sequence[Peer], frame: bytes, count: int, window: int = 1) -> LoadResult:
    """Keep `window` requests in flight on each connection until `count` in all are answered.

    Raises:
        RequestRefused: the server answered with an error, or closed.
        TimeoutError: it did not answer.
    """
    done = asyncio.get_running_loop().create_future()
    latencies: list[float] = []
    left = count

    def replied(peer: Peer) -> None:
        nonlocal left
        latencies.append(clock_us() - peer.sent_us.popleft())
        if left > 0:
            left -= 1
            peer.send(frame)
        elif len(latencies) == count and not done.done():
            done.set_result(None)

    began = clock_us()
    for _ in range(window):
        for peer in peers:
            peer.on_reply = replied
            if left > 0:
                left -= 1
                peer.send(frame)
    await _until(done, peers)
    return LoadResult((clock_us() - began) / MICROSECONDS, latencies)


async def open_loop(peers: Sequence[Peer], frame: bytes, count: int, per_second: float) -> LoadResult:
    """Offer requests at a fixed rate whatever the server does; each counts from when it was due.

    Raises:
        RequestRefused: the server answered with an error, or closed.
        TimeoutError: it did not answer.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    latencies: list[float] = []
    late: list[float] = []

    def replied(peer: Peer) -> None:
        latencies.append(clock_us() - peer.sent_us.popleft())
        if len(latencies) == count and not done.done():
            done.set_result(None)

    for peer in peers:
        peer.on_reply = replied
    began, sent = clock_us(), 0
    gap_us = MICROSECONDS / per_second
    while sent < count:
        due = min(count, int((clock_us() - began) / gap_us) + 1)
        while sent < due:
            due_us = began + sent * gap_us
            late.append(clock_us() - due_us)
            peers[sent % len(peers)].send(frame, due_us)
            sent += 1
        _check_open(peers)
        await asyncio.sleep(TICK_SECONDS)
    await _until(done, peers)
    return LoadResult((clock_us() - began) / MICROSECONDS, latencies, late)


async def _until(done: "asyncio.Future[None]", peers: Sequence[Peer]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.wait([done, *(peer.closed for peer in peers)], return_when=asyncio.FIRST_COMPLETED)
    _check_open(peers)


def _check_open(peers: Sequence[Peer]) -> None:
    for peer in peers:
        if peer.closed.done():
            peer.closed.result()
