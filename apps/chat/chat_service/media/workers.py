"""Media work in processes beside the event loop: one that crashes, hangs or eats memory takes only its own job along.

Each worker has a pipe of its own, so however one ends, the others are not disturbed, and the pod learns of it at once.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from botkit import AudioInfo, VideoInfo
from chat_service.media.base import MediaError
from chat_service.media.boxes import USUAL_LIMITS, WorkLimits
from chat_service.media.fair_queue import FairWorkerQueue, QueueClosed
from chat_service.media.pipe import Job, Message, WorkerSettings
from chat_service.media.process import CpuTimeUsed, WorkerDied, WorkerProcess
from servicekit.logs import get_logger
from servicekit.tasks import finish

if TYPE_CHECKING:
    from frameproto import Buffer

T = TypeVar("T")
log = get_logger(__name__)

START_SECONDS: Final = 60.0
MEMORY_BYTES: Final = 1024**3
USUAL_BYTES_PER_SECOND: Final = 1_000_000  # of a job; only compared, so that a short voice note goes before a video
CLIENTS_FAULT: Final = frozenset({"media_unreadable", "media_too_long", "media_too_complex"})
TOO_MUCH_WORK: Final = "this file takes more work than any one may take; make it shorter or simpler"
OUR_FAULT: Final = "this could not be processed because of a fault of ours; send it again"
STOPPING: Final = "this server is stopping; send it again"


class ProcessMediaWorkers:
    """Worker processes for voice and video; an async context manager, left when the last answer is out.

    A free worker goes to the client that has used the least worker time; the jobs of one client are taken up in the
    order of its calls. No client has all workers at once, if there are several. **Cancelling** a call whose job has
    begun does not end the job: the call raises `CancelledError` once the job has really ended, or was killed because
    its time was over. A call that still waits for a free worker is given up at once. Leaving the context kills what is
    still under way.

    Args:
        processes: how many workers; jobs at once.
        job_seconds: a job that takes longer is killed, and its worker with it; a fault of ours.
        job_cpu_seconds: CPU time of one job. A file that takes more is refused, and its worker starts again. Choose
            much less than `job_seconds`, so that a busy machine is not taken for a fault.
        max_media_seconds: longest voice note or video that is accepted.
        voice: who speaks, as espeak-ng names voices.
        memory_bytes: address space of one worker, about 150 MB of which are code; 0 for no limit.
        per_client: how many workers one client may have at once; None for all but one.
        other_formats: whether voice and video may come in other formats than MP3 and MP4.
        limits: how much work an MP4 may be; one that is more is refused before anything is spent on it.
        start_seconds: how long a worker may take to be ready.
    """

    def __init__(
        self,
        *,
        processes: int,
        job_seconds: float,
        job_cpu_seconds: float,
        max_media_seconds: float,
        per_client: int | None = None,
        voice: str = "en-us",
        memory_bytes: int = MEMORY_BYTES,
        other_formats: bool = True,
        limits: WorkLimits = USUAL_LIMITS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        settings = WorkerSettings(
            max_media_seconds=max_media_seconds,
            voice=voice,
            memory_bytes=memory_bytes,
            other_formats=other_formats,
            job_cpu_seconds=job_cpu_seconds,
            max_boxes=limits.max_boxes,
            max_entries=limits.max_entries,
        )
        self._job_seconds = job_seconds
        self._workers = [WorkerProcess(settings, start_seconds=start_seconds) for _ in range(processes)]
        self._queue: FairWorkerQueue[WorkerProcess] = FairWorkerQueue(per_client=per_client or max(1, processes - 1))
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
        except BaseException as trouble:
            for start in starting:
                start.cancel()
            await self._stop(starting)
            if isinstance(trouble, WorkerDied):
                raise MediaError("media_failed", f"a worker for voice and video cannot work: {trouble}") from trouble
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

    async def probe_audio(self, file: "Buffer", *, client_id: str) -> AudioInfo:
        """Decode and check a voice note. Raises MediaError."""
        result = await self._call(Job.PROBE_AUDIO, file, client_id)
        return AudioInfo(
            seconds=float(result.head["seconds"]), whole=bool(result.head["whole"]), silent=bool(result.head["silent"])
        )

    async def probe_video(self, file: "Buffer", *, client_id: str) -> VideoInfo:
        """Decode and check a video, and take a picture from it. Raises MediaError."""
        result = await self._call(Job.PROBE_VIDEO, file, client_id)
        return VideoInfo(
            seconds=float(result.head["seconds"]),
            width=int(result.head["width"]),
            height=int(result.head["height"]),
            picture=bytes(result.body),
            has_sound=bool(result.head["has_sound"]),
        )

    async def synthesize(self, text: str, *, client_id: str, language: str = "") -> bytes:
        """Speak a text, about its first two minutes, and return the MP3. Raises MediaError."""
        del language
        result = await self._call(Job.SYNTHESIZE, text.encode(), client_id)
        return bytes(result.body)

    async def _call(self, job: Job, body: "Buffer", client_id: str) -> Message:
        try:
            worker = await self._queue.take(client_id, expected_seconds=len(body) / USUAL_BYTES_PER_SECOND)
        except QueueClosed as stopping:
            raise MediaError("media_failed", STOPPING) from stopping
        result = await finish(self._own(self._do(worker, Message({"job": job}, body))))
        code = result.head.get("error")
        if code is None:
            return result
        if code in CLIENTS_FAULT:
            raise MediaError(code, str(result.head.get("message")))
        log.error("media.job_failed", job=job, details=result.head.get("details"))
        raise MediaError("media_failed", OUR_FAULT)

    async def _do(self, worker: WorkerProcess, job: Message) -> Message:
        try:
            if not worker.alive:  # it ended between two jobs; the system kills any process when memory is short
                await worker.start()
            return await worker.do(job, seconds=self._job_seconds)
        except CpuTimeUsed as used:
            log.info("media.too_complex", job=job.head["job"], bytes=len(job.body))
            if job.head["job"] == Job.SYNTHESIZE:
                raise MediaError("media_failed", OUR_FAULT) from used  # the text is ours
            raise MediaError("media_too_complex", TOO_MUCH_WORK) from used
        except WorkerDied as died:
            if not self._open:
                raise MediaError("media_failed", STOPPING) from died
            log.error("media.worker_died", job=job.head["job"], bytes=len(job.body), reason=str(died))  # noqa: TRY400
            raise MediaError("media_failed", OUR_FAULT) from died
        finally:
            if worker.alive:
                self._queue.give_back(worker)
            else:
                self._own(self._revive(worker))

    async def _revive(self, worker: WorkerProcess) -> None:
        """Start a worker again, so that the next message does not have to wait for it."""
        try:
            if self._open:
                await worker.start()
        except WorkerDied as trouble:
            log.error("media.worker_does_not_start", reason=str(trouble))  # noqa: TRY400 - the next job tries again
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
