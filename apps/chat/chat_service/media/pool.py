"""A pool of worker processes: one that crashes, hangs or eats memory takes only its own job along.

Each worker has a pipe of its own, so however one ends, the others are not disturbed, and the pod learns of it at once.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from chat_service.media.base import MediaError
from chat_service.media.fair_queue import FairWorkerQueue, QueueClosed, QueueFull
from chat_service.media.process import CpuTimeUsed, WorkerDied, WorkerProcess
from servicekit.logs import get_logger
from servicekit.tasks import finish

if TYPE_CHECKING:
    from chat_service.media.pipe import PipeMessage, ProcessSettings

T = TypeVar("T")
log = get_logger(__name__)

START_SECONDS: Final = 60.0
CLIENTS_FAULT: Final = frozenset({"media_unreadable", "media_too_long", "media_too_complex"})
TOO_MUCH_WORK: Final = "this file takes more work than any one may take; make it shorter or simpler"
OUR_FAULT: Final = "this could not be processed because of a fault of ours; send it again"
STOPPING: Final = "this server is stopping; send it again"
BUSY: Final = "too many voice notes and videos are being processed; send it again in a moment"


class WorkerPool:
    """Worker processes of one kind; an async context manager, left when the last answer is out.

    A free worker goes to the client that has used the least worker time; the jobs of one client and class are taken up
    in the order of its calls. No client has all workers at once, if there are several. **Cancelling** a call whose job
    has begun does not end the job: the call raises `CancelledError` once the job has really ended, or was killed
    because its time was over. A call that still waits for a free worker is given up at once. Leaving the context kills
    what is still under way.

    Args:
        settings: what each worker is told.
        processes: how many workers; jobs at once.
        job_seconds: a job that takes longer is killed, and its worker with it; a fault of ours.
        per_client: how many workers one client may have at once; None for all but one.
        per_class: how many workers jobs of a class may have at once.
        max_waiting: jobs that may wait; one more is answered `busy`.
        start_seconds: how long a worker may take to be ready.
    """

    def __init__(
        self,
        settings: "ProcessSettings",
        *,
        processes: int,
        job_seconds: float,
        per_client: int | None = None,
        per_class: Mapping[str, int] | None = None,
        max_waiting: int = 1_000_000,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._job_seconds = job_seconds
        self._workers = [WorkerProcess(settings, start_seconds=start_seconds) for _ in range(processes)]
        self._queue: FairWorkerQueue[WorkerProcess] = FairWorkerQueue(
            per_client=per_client or max(1, processes - 1), per_class=per_class, max_waiting=max_waiting
        )
        self._under_way: set[asyncio.Task[Any]] = set()
        self._open = False

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that run."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    @property
    def busy(self) -> int:
        """How many workers are not free: at a job, or being started again after one."""
        return len(self._workers) - self._queue.free if self._open else 0

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return self._queue.waiting

    async def __aenter__(self) -> Self:
        """Start the workers and wait until they can work. Raises MediaError when they do not start."""
        starting = [asyncio.create_task(worker.start()) for worker in self._workers]
        try:
            await asyncio.gather(*starting)
        except BaseException as exc:
            for start in starting:
                start.cancel()
            await self._stop(starting)
            if isinstance(exc, WorkerDied):
                raise MediaError("media_failed", f"a worker for voice and video cannot work: {exc}") from exc
            raise
        for worker in self._workers:
            self._queue.add(worker)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the workers, in the middle of a job if need be."""
        self._open = False
        self._queue.close()
        for worker in self._workers:
            worker.kill()
        await self._stop(self._under_way)

    async def run(
        self, job: "PipeMessage", *, client_id: str, expected_seconds: float, job_class: str = ""
    ) -> "PipeMessage":
        """Have a job done and return its result.

        Args:
            job: what to do; its head names the job.
            client_id: for whom.
            expected_seconds: how long it may last; only compared with other jobs.
            job_class: what kind of job it is.

        Raises:
            MediaError: the job failed, or the queue is full (`busy`).
        """
        try:
            worker = await self._queue.take(client_id, expected_seconds=expected_seconds, job_class=job_class)
        except QueueClosed as exc:
            raise MediaError("media_failed", STOPPING) from exc
        except QueueFull as exc:
            raise MediaError("busy", BUSY) from exc
        result = await finish(self._own(self._do(worker, job)))
        code = result.head.get("error")
        if code is None:
            return result
        if code in CLIENTS_FAULT:
            raise MediaError(code, str(result.head.get("message")))
        log.error("media.job_failed", job=job.head["job"], details=result.head.get("details"))
        raise MediaError("media_failed", OUR_FAULT)

    async def _do(self, worker: WorkerProcess, job: "PipeMessage") -> "PipeMessage":
        try:
            if not worker.alive:  # it ended between two jobs; the system kills any process when memory is short
                await worker.start()
            result = await worker.do(job, seconds=self._job_seconds)
        except CpuTimeUsed as exc:
            log.info("media.too_complex", job=job.head["job"], bytes=len(job.body))
            raise MediaError("media_too_complex", TOO_MUCH_WORK) from exc
        except WorkerDied as exc:
            if not self._open:
                raise MediaError("media_failed", STOPPING) from exc
            log.error("media.worker_died", job=job.head["job"], bytes=len(job.body), reason=str(exc))  # noqa: TRY400
            raise MediaError("media_failed", OUR_FAULT) from exc
        else:
            if result.head.get("error") == "media_failed":  # whatever it is, the next job shall not meet it
                await worker.stop()
            return result
        finally:
            if worker.alive:
                self._queue.give_back(worker)
            else:
                self._own(self._restart(worker))

    async def _restart(self, worker: WorkerProcess) -> None:
        """Start a worker again, so that the next message does not have to wait for it."""
        try:
            if self._open:
                await worker.start()
        except WorkerDied as exc:
            log.error("media.worker_does_not_start", reason=str(exc))  # noqa: TRY400 - the next job tries again
        finally:
            self._queue.give_back(worker)

    async def _stop(self, ending: Iterable["asyncio.Task[Any]"]) -> None:
        """Wait for what comes to its end, and for the end of every process."""
        while tasks := [task for task in ending if not task.done()]:
            await asyncio.wait(tasks)
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    def _own(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
