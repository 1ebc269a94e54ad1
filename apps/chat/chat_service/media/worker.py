"""A media worker: the process that touches what strangers send. `python -m chat_service.media.worker SETTINGS`.

It does one job after the other, as they come through its standard input, and answers through its standard output. It
keeps nothing, writes no files, has bounded memory, files and CPU time, reaches no network and no other process, and
ends when the pod that started it does.
"""

import contextlib
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final, TypedDict

import espeakng_loader

from chat_service.media.audio import encode_mp3, probe_audio
from chat_service.media.base import MediaError
from chat_service.media.boxes import WorkLimits
from chat_service.media.pipe import Job, Message, WorkerSettings, read_message, write_message
from chat_service.media.speech import Speaker, SpeechError
from chat_service.media.syscall_filter import FilterRefused, refuse_dangerous_calls
from chat_service.media.video import probe_video

NICENESS: Final = 5  # the event loop of the pod, which serves everybody, goes first
OPEN_FILES: Final = 32  # five are open between jobs; a library that is loaded and a voice need a few
EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1


class _Accepted(TypedDict):
    max_seconds: float
    other_formats: bool
    limits: WorkLimits


class JobRunner:
    """Runs the jobs of a worker."""

    def __init__(self, settings: WorkerSettings, speech_data: str) -> None:
        self._accepted: _Accepted = {
            "max_seconds": settings.max_media_seconds,
            "other_formats": settings.other_formats,
            "limits": WorkLimits(settings.max_boxes, settings.max_entries),
        }
        self._speaker = Speaker(settings.voice, speech_data)

    def do(self, job: Message) -> Message:
        """Do a job and return what came of it. Raises MediaError."""
        body = bytes(job.body)
        match Job(job.head["job"]):
            case Job.PROBE_AUDIO:
                return Message(asdict(probe_audio(body, **self._accepted)))
            case Job.PROBE_VIDEO:
                facts = asdict(probe_video(body, **self._accepted))
                return Message(facts, facts.pop("picture"))
            case Job.SYNTHESIZE:
                pcm = self._speaker.say(body.decode())
                return Message({}, encode_mp3(pcm, sample_rate=self._speaker.sample_rate))

    def warm_up(self) -> None:
        """Use every codec once: the first time takes longer."""
        spoken = self.do(Message({"job": Job.SYNTHESIZE}, b"ready"))
        with contextlib.suppress(MediaError):  # when not even a word is short enough for max_media_seconds
            self.do(Message({"job": Job.PROBE_AUDIO}, spoken.body))


def answer(runner: JobRunner, job: Message) -> Message:
    """Do a job and return its result or its failure."""
    try:
        return runner.do(job)
    except MediaError as unusable:
        return Message({"error": unusable.code, "message": unusable.message})
    except Exception:  # noqa: BLE001 - whatever it is, it goes to the log of the pod, and the next job is another one
        return Message({"error": "media_failed", "details": traceback.format_exc(limit=-3)})


def work(settings: WorkerSettings, jobs: IO[bytes], replies: IO[bytes], unconfined: str) -> None:
    """Do jobs until the pod is gone. `unconfined` says why there is no filter of system calls, if there is none."""
    try:
        # espeak-ng cannot find data behind a path of more than 160 bytes, so it gets a short one.
        data = Path(espeakng_loader.get_data_path())
        os.chdir(data.parent)
        runner = JobRunner(settings, data.name)
        runner.warm_up()
    except (SpeechError, OSError) as silent:  # OSError: the library or its data are not there
        write_message(replies, Message({"error": "media_failed", "message": str(silent)}))
        return
    write_message(replies, Message({"ready": True, "unconfined": unconfined}))
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, inbox), daemon=True).start()
    while True:
        job = inbox.get()
        # CPU time, not time: on a busy machine a short job takes long. Nothing can catch the signal while FFmpeg works,
        # so it ends the process, and the pod reads from the exit code why.
        signal.setitimer(signal.ITIMER_PROF, settings.job_cpu_seconds)
        result = answer(runner, job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_message(replies, result)


def _listen(jobs: IO[bytes], inbox: "queue.SimpleQueue[Message]") -> None:
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


def main(arguments: list[str]) -> None:
    """Run a worker with its settings as JSON."""
    settings = WorkerSettings(**json.loads(arguments[0]))
    jobs, replies = _take_pipes()
    limit_resources(settings.memory_bytes)
    unconfined = ""
    try:
        refuse_dangerous_calls()
    except FilterRefused as refused:
        unconfined = str(refused)
    with contextlib.suppress(BrokenPipeError):
        work(settings, jobs, replies, unconfined)
    os._exit(EXIT_OK)  # nothing is left to clean up, and nobody to read a last word


if __name__ == "__main__":
    main(sys.argv[1:])
