"""The queue for media workers: the next free worker goes to the client that will have used the least worker time.

This is fair queueing by virtual time (Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing
Algorithm", 1989). Each client has a tag, the worker time it has used. The waiting client is served next whose tag and
expected time of its next job are least together. A client that comes anew starts at the virtual time: what each client
would have used if the workers had been shared evenly. It goes before all that have used more, and gets nothing for the
time in which it asked for nothing. The virtual time goes on with every job, so that a long job is not passed by for
ever, even if new clients with short ones keep coming.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

W = TypeVar("W")


class QueueClosed(Exception):
    """No worker is handed out any more."""


@dataclass(eq=False)
class _Client(Generic[W]):
    tag: float
    last_seconds: float = 0.0
    running: int = 0
    waiting: "deque[tuple[asyncio.Future[W], float]]" = field(default_factory=deque)

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    @property
    def expected_tag(self) -> float:
        """What the tag will be after the next job, which is expected to last as long as the last one at least."""
        return self.tag + max(self.waiting[0][1], self.last_seconds)


class FairWorkerQueue(Generic[W]):
    """Hands out workers, fairly by client. One event loop only.

    Args:
        per_client: how many workers one client may have at once.
    """

    def __init__(self, *, per_client: int) -> None:
        self._per_client = per_client
        self._free: deque[W] = deque()
        self._taken: dict[int, tuple[_Client[W], float]] = {}  # by the worker's identity: who has it, and since when
        self._clients: dict[str, _Client[W]] = {}
        self._tag = 0.0
        self._closed = False

    @property
    def free(self) -> int:
        """How many workers nobody has."""
        return len(self._free)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return sum(len(client.waiting) for client in self._clients.values())

    def add(self, worker: W) -> None:
        """Put in a worker that nobody has."""
        self._free.append(worker)
        self._serve()

    async def take(self, client_id: str, *, expected_seconds: float) -> W:
        """Wait for a worker. A cancelled wait takes none.

        Args:
            client_id: whose job it is.
            expected_seconds: how long the job may last; what it really lasts is counted.

        Raises:
            QueueClosed: nothing is handed out any more.
        """
        if self._closed:
            raise QueueClosed
        client = self._clients.setdefault(client_id, _Client(self._tag))
        if client.idle:
            client.tag = max(client.tag, self._tag)
        turn: asyncio.Future[W] = asyncio.get_running_loop().create_future()
        client.waiting.append((turn, expected_seconds))
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if (turn, expected_seconds) in client.waiting:
                client.waiting.remove((turn, expected_seconds))
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())  # handed out, and cancelled before this task ran
            raise

    def give_back(self, worker: W) -> None:
        """Take a worker back; the time since it was handed out counts for its client."""
        client, since = self._taken.pop(id(worker))
        client.last_seconds = asyncio.get_running_loop().time() - since
        client.tag += client.last_seconds
        self._tag += client.last_seconds / sum(not each.idle for each in self._clients.values())
        client.running -= 1
        self.add(worker)

    def close(self) -> None:
        """Hand out nothing any more; whoever waits gets QueueClosed."""
        self._closed = True
        for client in self._clients.values():
            while client.waiting:
                turn, _ = client.waiting.popleft()
                if not turn.done():
                    turn.set_exception(QueueClosed())

    def _serve(self) -> None:
        while self._free and (next_up := self._next_up()) is not None:
            turn, _ = next_up.waiting.popleft()
            if turn.cancelled():  # its task has not run yet
                continue
            worker = self._free.popleft()
            self._tag = max(self._tag, next_up.tag)
            next_up.running += 1
            self._taken[id(worker)] = next_up, asyncio.get_running_loop().time()
            turn.set_result(worker)
        if all(client.idle for client in self._clients.values()):
            self._clients.clear()  # what was used while others waited matters only as long as somebody waits
        for client_id in [known for known, client in self._clients.items() if client.idle and client.tag <= self._tag]:
            del self._clients[client_id]

    def _next_up(self) -> _Client[W] | None:
        able = (client for client in self._clients.values() if client.waiting and client.running < self._per_client)
        return min(able, key=lambda client: client.expected_tag, default=None)
