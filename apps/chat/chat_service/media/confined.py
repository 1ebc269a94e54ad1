"""What all worker processes have in common: they are confined, and do one job after the other.

Jobs come through the standard input, results go through the standard output. A worker keeps nothing, writes no files,
has bounded memory, files and CPU time, reaches no network and no other process, and ends when the pod that started it
does.
"""

import contextlib
import gc
import os
import queue
import resource
import signal
import threading
import traceback
from collections.abc import Callable
from typing import IO, Final, Protocol, TypeVar

from chat_service.media.base import MediaError
from chat_service.media.pipe import PipeMessage, ProcessSettings, read_message, write_message
from chat_service.media.syscall_filter import FilterRefused, refuse_dangerous_calls

S = TypeVar("S", bound=ProcessSettings)

NICENESS: Final = 5  # the event loop of the pod, which serves everybody, goes first
OPEN_FILES: Final = 32  # five are open between jobs; a library that is loaded and a voice need a few
EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1


class CannotStart(Exception):
    """This worker cannot work; the message says why."""


class Runner(Protocol):
    """Does jobs."""

    def run(self, job: PipeMessage, /) -> PipeMessage:
        """Do a job and return its result. Raises MediaError."""


def serve(settings: S, open_runner: Callable[[S], Runner]) -> None:
    """Confine this process, then do jobs until the pod is gone. Does not return.

    Args:
        settings: what the worker was told.
        open_runner: makes what does the jobs, after the process was confined. Raises CannotStart.
    """
    jobs, replies = _take_pipes()
    limit_resources(settings.memory_bytes)
    unconfined = ""
    try:
        refuse_dangerous_calls()
    except FilterRefused as exc:
        unconfined = str(exc)
    with contextlib.suppress(BrokenPipeError):
        try:
            runner = open_runner(settings)
        except CannotStart as exc:
            write_message(replies, PipeMessage({"error": "media_failed", "message": str(exc)}))
        else:
            write_message(replies, PipeMessage({"ready": True, "unconfined": unconfined}))
            _work(runner, jobs, replies, settings.job_cpu_seconds)
    os._exit(EXIT_OK)  # nothing is left to clean up, and nobody to read a last word


def answer(runner: Runner, job: PipeMessage) -> PipeMessage:
    """Do a job and return its result or its failure."""
    try:
        return runner.run(job)
    except MediaError as exc:
        return PipeMessage({"error": exc.code, "message": exc.message})
    except Exception:  # noqa: BLE001 - whatever it is, it goes to the log of the pod, and the next job is another one
        return PipeMessage({"error": "media_failed", "details": traceback.format_exc(limit=-3)})


def _work(runner: Runner, jobs: IO[bytes], replies: IO[bytes], job_cpu_seconds: float) -> None:
    inbox: queue.SimpleQueue[PipeMessage] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, inbox), daemon=True).start()
    gc.freeze()  # what is there now stays, and need not be looked at again
    while True:
        job = inbox.get()
        # CPU time, not time: on a busy machine a short job takes long. Nothing can catch the signal while FFmpeg works,
        # so it ends the process, and the pod reads from the exit code why.
        signal.setitimer(signal.ITIMER_PROF, job_cpu_seconds)
        result = answer(runner, job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_message(replies, result)
        # Pictures and filters hang together in cycles, and the collector counts objects, not the megabytes they hold.
        del job, result
        gc.collect()


def _listen(jobs: IO[bytes], inbox: "queue.SimpleQueue[PipeMessage]") -> None:
    """Take jobs in. When the pod is gone, even by SIGKILL, the pipe says so, and a job under way is for nobody."""
    try:
        while (job := read_message(jobs)) is not None:
            inbox.put(job)
    except MemoryError:
        os._exit(EXIT_FAILURE)  # a job that does not fit; an exception would end this thread only
    os._exit(EXIT_OK)


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep standard input and output for messages; whatever a library prints goes to the standard error."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return jobs, replies


def limit_resources(memory_bytes: int) -> None:
    """Limit what this process may use, and let only the pod end it."""
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # the pod decides when its workers end, not whoever signals them all
    os.nice(NICENESS)
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)):
        resource.setrlimit(kind, (most, most))
    if memory_bytes:
        with contextlib.suppress(ValueError, OSError):  # not every system has it
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
