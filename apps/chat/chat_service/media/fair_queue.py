"""The queue for media workers: the next free worker goes to the client that will have used the least worker time.

This is fair queueing by virtual time (Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing
Algorithm", 1989). Each client has a tag, the worker time it has used. The waiting client is served next whose tag and
expected time of its next job are least together. A client that comes anew starts at the virtual time: what each client
would have used if the workers had been shared evenly. It goes before all that have used more, and gets nothing for the
time in which it asked for nothing. The virtual time goes on with every job, so that a long job is not passed by for
ever, even if new clients with short ones keep coming.

Jobs are of classes, and a class may have a limit of its own: a worker that videos may not take is left for a voice
note.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

W = TypeVar("W")


class QueueClosed(Exception):
    """No worker is handed out any more."""


class QueueFull(Exception):
    """Too many jobs wait already."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter(Generic[W]):
    turn: "asyncio.Future[W]"
    expected_seconds: float
    job_class: str


@dataclass(eq=False)
class _Client(Generic[W]):
    tag: float
    last_seconds: float = 0.0
    running: int = 0
    waiting: "deque[_Waiter[W]]" = field(default_factory=deque)

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def expected_tag(self, waiter: "_Waiter[W]") -> float:
        """Return the tag after this job, which is expected to last as long as the last one at least."""
        return self.tag + max(waiter.expected_seconds, self.last_seconds)


class FairWorkerQueue(Generic[W]):
    """Hands out workers, fairly by client. One event loop only.

    Args:
        per_client: how many workers one client may have at once.
        per_class: how many workers the jobs of a class may have at once; a class without a limit may have all.
        max_waiting: jobs that may wait.
    """

    def __init__(
        self, *, per_client: int, per_class: Mapping[str, int] | None = None, max_waiting: int = 1_000_000
    ) -> None:
        self._per_client = per_client
        self._per_class = dict(per_class or {})
        self._max_waiting = max_waiting
        self._free: deque[W] = deque()
        self._taken: dict[int, tuple[_Client[W], str, float]] = {}  # by the worker's identity: for whom, since when
        self._running: dict[str, int] = {}  # by class
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

    async def take(self, client_id: str, *, expected_seconds: float, job_class: str = "") -> W:
        """Wait for a worker. A cancelled wait takes none.

        Args:
            client_id: whose job it is.
            expected_seconds: how long the job may last; what it really lasts is counted.
            job_class: what kind of job it is. Jobs of one client and class are taken up in the order of the calls.

        Raises:
            QueueClosed: nothing is handed out any more.
            QueueFull: too many jobs wait.
        """
        if self._closed:
            raise QueueClosed
        if self.waiting >= self._max_waiting:
            raise QueueFull
        client = self._clients.setdefault(client_id, _Client(self._tag))
        if client.idle:
            client.tag = max(client.tag, self._tag)
        turn: asyncio.Future[W] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(turn, expected_seconds, job_class)
        client.waiting.append(waiter)
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if waiter in client.waiting:
                client.waiting.remove(waiter)
                self._forget_idle()
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())  # handed out, and cancelled before this task ran
            raise

    def give_back(self, worker: W) -> None:
        """Take a worker back; the time since it was handed out counts for its client."""
        client, job_class, since = self._taken.pop(id(worker))
        self._running[job_class] -= 1
        client.last_seconds = asyncio.get_running_loop().time() - since
        client.tag += client.last_seconds
        self._tag += client.last_seconds / sum(not each.idle for each in self._clients.values())
        client.running -= 1
        self._forget_idle()
        self.add(worker)

    def close(self) -> None:
        """Hand out nothing any more; whoever waits gets QueueClosed."""
        self._closed = True
        for client in self._clients.values():
            while client.waiting:
                turn = client.waiting.popleft().turn
                if not turn.done():
                    turn.set_exception(QueueClosed())

    def _serve(self) -> None:
        while self._free and (next_up := self._next_up()) is not None:
            client, waiter = next_up
            client.waiting.remove(waiter)
            if waiter.turn.cancelled():  # its task has not run yet
                continue
            worker = self._free.popleft()
            self._tag = max(self._tag, client.tag)
            client.running += 1
            self._running[waiter.job_class] = self._running.get(waiter.job_class, 0) + 1
            self._taken[id(worker)] = client, waiter.job_class, asyncio.get_running_loop().time()
            waiter.turn.set_result(worker)

    def _forget_idle(self) -> None:
        """Forget clients that are idle and have used no more than they would get anew."""
        if all(client.idle for client in self._clients.values()):
            self._clients.clear()  # what was used while others waited matters only as long as somebody waits
        for client_id in [known for known, client in self._clients.items() if client.idle and client.tag <= self._tag]:
            del self._clients[client_id]

    def _next_up(self) -> "tuple[_Client[W], _Waiter[W]] | None":
        able = (
            (client, waiter)
            for client in self._clients.values()
            if client.running < self._per_client and (waiter := self._first_able(client)) is not None
        )
        return min(able, key=lambda pair: pair[0].expected_tag(pair[1]), default=None)

    def _first_able(self, client: _Client[W]) -> "_Waiter[W] | None":
        """Return the first job of a client whose class may have one more worker."""
        return next((waiter for waiter in client.waiting if self._may_run(waiter.job_class)), None)

    def _may_run(self, job_class: str) -> bool:
        limit = self._per_class.get(job_class)
        return limit is None or self._running.get(job_class, 0) < limit
