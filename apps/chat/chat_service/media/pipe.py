"""How a pod and its media workers talk: messages of a JSON head and a body of bytes, over a pair of pipes.

No pickles: a worker decodes what strangers send, so nothing that it says may run in the pod.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

from frameproto import Buffer

if TYPE_CHECKING:
    import asyncio

SIZES: Final = struct.Struct(">II")
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024


class Job(StrEnum):
    """What workers can do. The body of a job is a file, the text to speak, or sound."""

    PROBE_AUDIO = "probe_audio"
    PROBE_VIDEO = "probe_video"
    SYNTHESIZE = "synthesize"
    FIND_SPEECH = "find_speech"
    TRANSCRIBE = "transcribe"


class MessageMalformed(Exception):
    """What came through the pipe is not a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What a worker process of any kind is told at its start.

    Args:
        memory_bytes: address space that a worker may use, about 150 MB of which are code; 0 for no limit.
        job_cpu_seconds: CPU time of one job; the system ends a worker that uses more by SIGPROF.
    """

    PROGRAM: ClassVar[str]  # the module that is run
    VARIABLES: ClassVar[Mapping[str, str]] = {  # of its environment
        # With an arena for each thread, a recognizer keeps 200 MB more, and 64 MB of the address space of any worker
        # are taken or not by which of its threads asks first.
        "MALLOC_ARENA_MAX": "1",
    }

    memory_bytes: int
    job_cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings(ProcessSettings):
    """What a worker for voice and video is told.

    Args:
        max_media_seconds: longest voice note or video.
        voice: the voice that speaks, as espeak-ng names it.
        better_voice: whether hibari speaks English.
        other_formats: whether voice and video may come in other formats than MP3 and MP4.
        max_boxes: boxes that an MP4 may be made of.
        max_entries: entries that the tables of an MP4 may have.
    """

    PROGRAM: ClassVar[str] = "chat_service.media.worker"

    max_media_seconds: float
    voice: str
    better_voice: bool
    other_formats: bool
    max_boxes: int
    max_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizerSettings(ProcessSettings):
    """What a worker that recognizes speech is told.

    Args:
        model: folder of a Whisper model, as CTranslate2 has it.
        threads: CPU threads of one job.
    """

    PROGRAM: ClassVar[str] = "chat_service.media.recognizer"
    VARIABLES: ClassVar[Mapping[str, str]] = {
        **ProcessSettings.VARIABLES,
        # CTranslate2 takes MKL on processors of Intel only. It needs twice the address space, and is not faster.
        "CT2_USE_MKL": "0",
    }

    model: str
    threads: int


@dataclass(frozen=True, slots=True)
class PipeMessage:
    """A job or what came of it."""

    head: Mapping[str, Any] = field(default_factory=dict)
    body: Buffer = b""

    def parts(self) -> tuple[bytes, Buffer]:
        """Return the message as it crosses the pipe, its body not copied."""
        head = json.dumps(self.head).encode()
        return SIZES.pack(len(head), len(self.body)) + head, self.body


def read_message(pipe: IO[bytes]) -> PipeMessage | None:
    """Wait for the next message; None when the other side is gone."""
    sizes = pipe.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    head_size, body_size = SIZES.unpack(sizes)
    head, body = pipe.read(head_size), pipe.read(body_size)
    if len(head) < head_size or len(body) < body_size:
        return None
    return PipeMessage(json.loads(head), body)


def write_message(pipe: IO[bytes], message: PipeMessage) -> None:
    """Send a message at once, so that the other side wakes up once. Raises OSError when it is gone."""
    pipe.write(b"".join(message.parts()))
    pipe.flush()


async def receive_message(stream: "asyncio.StreamReader") -> PipeMessage:
    """Wait for the next message, without trusting whoever sends it.

    Raises:
        asyncio.IncompleteReadError: the other side is gone.
        MessageMalformed: this is not a message.
    """
    head_size, body_size = SIZES.unpack(await stream.readexactly(SIZES.size))
    if head_size > MAX_HEAD_BYTES or body_size > MAX_REPLY_BYTES:
        raise MessageMalformed(f"a head of {head_size} bytes, a body of {body_size}")
    raw = await stream.readexactly(head_size)
    try:
        head = json.loads(raw)
    except ValueError as exc:
        raise MessageMalformed("a head that is not JSON") from exc
    if not isinstance(head, dict):
        raise MessageMalformed("a head that is not an object")
    return PipeMessage(head, await stream.readexactly(body_size))
