"""The media of a pod: files are decoded in worker processes, speech is recognized, and texts are spoken."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from botkit import AudioInfo, Transcript, VideoInfo
from chat_service.media.base import MediaError
from chat_service.media.boxes import USUAL_LIMITS, WorkLimits
from chat_service.media.hibari_speech import HIBARI_VOICE
from chat_service.media.pipe import Job, PipeMessage, WorkerSettings
from chat_service.media.pool import BUSY, OUR_FAULT, START_SECONDS, WorkerPool
from chat_service.media.speech_to_text import RecognitionError, SpeechToText
from chat_service.media.text_to_speech import SpeechCache, SpokenText, SynthesisError, TextToSpeech, Voices
from servicekit.logs import get_logger

if TYPE_CHECKING:
    from frameproto import Buffer

log = get_logger(__name__)

MEMORY_BYTES: Final = 1024**3
USUAL_BYTES_PER_SECOND: Final = 1_000_000  # of a job; only compared, so that a short voice note goes before a video
MAX_WAITING: Final = 1000
MAX_RECORDINGS: Final = 24
CACHE_BYTES: Final = 16 * 1024**2
USUAL_VOICES: Final = Voices()


class ProcessMediaWorkers:
    """Does media work in worker processes; an async context manager, left when the last answer is out.

    Voice notes do not wait for videos: with several workers, videos have all but one of them.

    Args:
        processes: how many workers; jobs at once.
        job_seconds: a job that takes longer is killed, and its worker with it; a fault of ours.
        job_cpu_seconds: CPU time of one job. A file that takes more is refused, and its worker starts again. Choose
            much less than `job_seconds`, so that a busy machine is not taken for a fault.
        max_media_seconds: longest voice note or video that is accepted.
        voices: who speaks which language; the voice "hibari" is the better one for English.
        memory_bytes: address space of one worker, about 150 MB of which are code; 0 for no limit.
        per_client: how many workers one client may have at once; None for all but one.
        other_formats: whether voice and video may come in other formats than MP3 and MP4.
        limits: how much work an MP4 may be; one that is more is refused before anything is spent on it.
        start_seconds: how long a worker may take to be ready.
        max_waiting: jobs that may wait for a worker; one more is answered `busy`.
        recognizer: recognizes speech; None: nothing does.
        max_recordings: recordings whose speech is recognized or that wait for it; one more is answered `busy`. Each
            takes 32 kB of memory a second.
        synthesizer: a service that speaks; None, or when it fails: the workers speak.
        cache_bytes: speech that is kept for texts that are spoken again.
    """

    def __init__(
        self,
        *,
        processes: int,
        job_seconds: float,
        job_cpu_seconds: float,
        max_media_seconds: float,
        per_client: int | None = None,
        voices: Voices = USUAL_VOICES,
        memory_bytes: int = MEMORY_BYTES,
        other_formats: bool = True,
        limits: WorkLimits = USUAL_LIMITS,
        start_seconds: float = START_SECONDS,
        max_waiting: int = MAX_WAITING,
        recognizer: SpeechToText | None = None,
        max_recordings: int = MAX_RECORDINGS,
        synthesizer: TextToSpeech | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._pool = WorkerPool(
            WorkerSettings(
                max_media_seconds=max_media_seconds,
                voice=USUAL_VOICES.usual if voices.usual == HIBARI_VOICE else voices.usual,
                better_voice=HIBARI_VOICE in {voices.usual, *voices.by_language.values()},
                memory_bytes=memory_bytes,
                other_formats=other_formats,
                job_cpu_seconds=job_cpu_seconds,
                max_boxes=limits.max_boxes,
                max_entries=limits.max_entries,
            ),
            processes=processes,
            job_seconds=job_seconds,
            per_client=per_client,
            per_class={Job.PROBE_VIDEO: max(1, processes - 1)},
            max_waiting=max_waiting,
            start_seconds=start_seconds,
        )
        self._recognizer = recognizer
        self._max_recordings = max_recordings
        self._recordings = 0
        self._synthesizer = synthesizer
        self._voices = voices
        self._spoken = SpeechCache(cache_bytes)
        self._stack = AsyncExitStack()

    @property
    def pids(self) -> list[int]:
        """Ids of the processes that run."""
        return self._pool.pids

    @property
    def busy(self) -> int:
        """How many workers are not free: at a job, or being started again after one."""
        return self._pool.busy

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker, those for speech recognition included."""
        return self._pool.waiting + (self._recognizer.waiting if self._recognizer else 0)

    async def __aenter__(self) -> Self:
        """Start the workers and wait until they can work. Raises MediaError when they do not start."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._pool)
            if self._recognizer is not None:
                await stack.enter_async_context(self._recognizer)
            if self._synthesizer is not None:
                await stack.enter_async_context(self._synthesizer)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the workers, in the middle of a job if need be."""
        await self._stack.aclose()

    async def probe_audio(self, file: "Buffer", *, client_id: str) -> AudioInfo:
        """Decode and check a voice note, and recognize what is spoken. Raises MediaError."""
        with self._recording():
            result = await self._probe(Job.PROBE_AUDIO, file, client_id)
            info = AudioInfo(
                seconds=float(result.head["seconds"]),
                whole=bool(result.head["whole"]),
                silent=bool(result.head["silent"]),
            )
            transcript = await self._transcribe(bytes(result.body), client_id, silent=info.silent)
        return replace(info, transcript=transcript)

    async def probe_video(self, file: "Buffer", *, client_id: str) -> VideoInfo:
        """Decode and check a video, take a picture from it, and recognize what is spoken. Raises MediaError."""
        with self._recording():
            result = await self._probe(Job.PROBE_VIDEO, file, client_id)
            at = int(result.head["picture_bytes"])
            info = VideoInfo(
                seconds=float(result.head["seconds"]),
                width=int(result.head["width"]),
                height=int(result.head["height"]),
                picture=bytes(memoryview(result.body)[:at]),
                has_sound=bool(result.head["has_sound"]),
                shots=int(result.head["shots"]),
            )
            if not info.has_sound:
                return info
            sound = bytes(memoryview(result.body)[at:])
            transcript = await self._transcribe(sound, client_id, silent=bool(result.head["silent"]))
        return replace(info, transcript=transcript)

    async def synthesize(self, text: str, *, client_id: str, language: str = "") -> bytes:
        """Speak a text, about its first two minutes, and return the MP3. Raises MediaError."""
        said = self._voices.choose(text, language)
        mp3 = self._spoken.get(said)
        if mp3 is None:
            mp3 = await self._speak(said, client_id)
            self._spoken.put(said, mp3)
        return mp3

    async def _speak(self, said: SpokenText, client_id: str) -> bytes:
        if self._synthesizer is not None and said.text:
            try:
                return await self._synthesizer.synthesize(said.text, voice=said.voice)
            except SynthesisError as exc:
                log.warning("media.synthesis_failed", reason=str(exc), instead="espeak-ng speaks")
        try:
            job = PipeMessage({"job": Job.SYNTHESIZE, "voice": said.voice}, said.text.encode())
            result = await self._run(job, client_id)
        except MediaError as exc:
            if exc.code == "media_too_complex":  # the text is ours, so it is no fault of the client's
                raise MediaError("media_failed", OUR_FAULT) from exc
            raise
        return bytes(result.body)

    async def _probe(self, job: Job, file: "Buffer", client_id: str) -> PipeMessage:
        return await self._run(PipeMessage({"job": job, "with_sound": self._recognizer is not None}, file), client_id)

    async def _run(self, job: PipeMessage, client_id: str) -> PipeMessage:
        return await self._pool.run(
            job,
            client_id=client_id,
            expected_seconds=len(job.body) / USUAL_BYTES_PER_SECOND,
            job_class=job.head["job"],
        )

    async def _transcribe(self, pcm: bytes, client_id: str, *, silent: bool) -> Transcript | None:
        """Return what is spoken; None when it cannot be recognized, which the message does not fail by."""
        if self._recognizer is None:
            return None
        if silent or not pcm:
            return Transcript("")
        try:
            return await self._recognizer.transcribe(pcm, client_id=client_id)
        except RecognitionError as exc:
            log.warning("media.speech_failed", reason=str(exc))
            return None

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Take one of the places for recordings, if speech is recognized. Raises MediaError, `busy`."""
        if self._recognizer is None:
            yield
            return
        if self._recordings >= self._max_recordings:
            raise MediaError("busy", BUSY)
        self._recordings += 1
        try:
            yield
        finally:
            self._recordings -= 1
