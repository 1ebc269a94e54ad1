"""Speech in: the port for speech recognition, and what stands behind it."""

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
from pydantic import SecretStr

from botkit import Transcript
from chat_service.media.base import MediaError
from chat_service.media.pcm import BYTES_PER_SAMPLE, BYTES_PER_SECOND, wav
from chat_service.media.pipe import Job, PipeMessage, RecognizerSettings
from chat_service.media.pool import WorkerPool

RECOGNIZER_MEMORY_BYTES: Final = 1536 * 1024**2  # of address space, for Whisper "base"; half of it is resident
VAD_SPEED: Final = 100.0  # seconds of sound in a second of work; only compared
SPEED: Final = 5.0
JOB_SECONDS_PER_CPU_SECOND: Final = 3.0  # a busy machine is no fault of a job
MAX_ANSWER_BYTES: Final = 1024 * 1024
LANGUAGES: Final = {"english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "dutch": "nl"}
CODE_LENGTH: Final = 2


class RecognitionError(Exception):
    """Speech could not be recognized; the message says why, for operators."""


class SpeechToText(Protocol):
    """Recognizes speech; an async context manager that lives as long as the pod."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""

    async def transcribe(self, pcm: bytes, *, client_id: str) -> Transcript:
        """Return what is spoken; an empty text when nobody speaks.

        Args:
            pcm: the sound, in the form of `chat_service.media.pcm`.
            client_id: whose it is.

        Raises:
            RecognitionError: it could not be recognized.
        """

    async def __aenter__(self) -> Self:
        """Start. Raises MediaError when it cannot work."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""


class JobPool(Protocol):
    """Workers that recognize speech; a `WorkerPool` outside of tests."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""

    async def run(self, job: PipeMessage, *, client_id: str, expected_seconds: float) -> PipeMessage:
        """Have a job done. Raises MediaError."""

    async def __aenter__(self) -> Self:
        """Start. Raises MediaError when the workers do not start."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""


class EmbeddedSpeechToText:
    """Whisper in worker processes of its own.

    A long recording is worked on in parts of half a minute, each a job, so that short ones of others go in between.

    Args:
        pool: the workers; `whisper_pool` makes them.
        language: of all speech, as ISO 639-1 has it; empty: detected, for each recording by its first part.
        seconds: how long a recording may take. What was recognized until then is returned, and ends with `…`.
    """

    def __init__(self, pool: JobPool, *, language: str = "", seconds: float = 60.0) -> None:
        self._pool = pool
        self._language = language
        self._seconds = seconds

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return self._pool.waiting

    async def __aenter__(self) -> Self:
        """Start the workers, which load the model. Raises MediaError when they do not start."""
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the workers."""
        await self._pool.__aexit__(kind, error, traceback)

    async def transcribe(self, pcm: bytes, *, client_id: str) -> Transcript:
        """Return what is spoken. Raises RecognitionError."""
        texts: list[str] = []
        language = self._language
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._run(Job.FIND_SPEECH, pcm, client_id, speed=VAD_SPEED)
                for start, end in _spans(found.head.get("parts"), len(pcm)):
                    part = memoryview(pcm)[start:end]
                    heard = await self._run(Job.TRANSCRIBE, part, client_id, speed=SPEED, language=language)
                    texts.append(str(heard.head.get("text", "")))
                    language = language or str(heard.head.get("language", ""))
        except TimeoutError:
            if not texts:
                raise RecognitionError(f"nothing was recognized within {self._seconds:g} seconds") from None
            texts.append("…")
        except MediaError as exc:
            raise RecognitionError(str(exc)) from exc
        return Transcript(" ".join(filter(None, texts)), language)

    async def _run(
        self, job: Job, pcm: bytes | memoryview, client_id: str, *, speed: float, language: str = ""
    ) -> PipeMessage:
        return await self._pool.run(
            PipeMessage({"job": job, "language": language}, pcm),
            client_id=client_id,
            expected_seconds=len(pcm) / BYTES_PER_SECOND / speed,
        )


def whisper_pool(
    model: Path,
    *,
    processes: int = 1,
    threads: int = 1,
    part_cpu_seconds: float = 60.0,
    memory_bytes: int = RECOGNIZER_MEMORY_BYTES,
    per_client: int | None = None,
) -> WorkerPool:
    """Return workers for `EmbeddedSpeechToText`, not yet started.

    Args:
        model: folder of a Whisper model, as CTranslate2 has it.
        processes: workers; each has the model in memory.
        threads: CPU threads of a worker.
        part_cpu_seconds: CPU time of one part of a recording.
        memory_bytes: address space of a worker; 0 for no limit.
        per_client: how many workers one client may have at once; None for all but one.
    """
    settings = RecognizerSettings(
        model=str(model.absolute()), threads=threads, memory_bytes=memory_bytes, job_cpu_seconds=part_cpu_seconds
    )
    return WorkerPool(
        settings, processes=processes, job_seconds=JOB_SECONDS_PER_CPU_SECOND * part_cpu_seconds, per_client=per_client
    )


class EndpointSpeechToText:
    """A service with the transcription API of OpenAI.

    Args:
        base_url: of the API, up to and with `/v1`.
        model: its name.
        api_key: what the API asks for; None: it asks for nothing.
        language: of all speech, as ISO 639-1 has it; empty: the service finds out.
        seconds: how long a recording may take.
        at_once: requests at once; more wait.
    """

    def __init__(
        self, *, base_url: str, model: str, api_key: SecretStr | None, language: str, seconds: float, at_once: int = 8
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/audio/transcriptions"
        self._model = model
        self._headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
        self._language = language
        self._seconds = seconds
        self._free = asyncio.Semaphore(at_once)
        self._http: aiohttp.ClientSession | None = None
        self.waiting = 0

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._http = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def transcribe(self, pcm: bytes, *, client_id: str) -> Transcript:
        """Return what is spoken. Raises RecognitionError."""
        del client_id
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                async with self._free:
                    return await self._ask(pcm)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as exc:
            raise RecognitionError(f"the service for speech did not answer as it should: {exc!r:.200}") from exc
        finally:
            self.waiting -= 1

    async def _ask(self, pcm: bytes) -> Transcript:
        assert self._http is not None  # noqa: S101 - entered before its first recording
        form = aiohttp.FormData()
        form.add_field("file", wav(pcm), filename="speech.wav", content_type="audio/wav")
        form.add_field("model", self._model)
        form.add_field("response_format", "json")
        if self._language:
            form.add_field("language", self._language)
        async with self._http.post(self._url, data=form, allow_redirects=False) as response:
            raw = await response.content.read(MAX_ANSWER_BYTES)
            while not response.content.at_eof() and len(raw) < MAX_ANSWER_BYTES:
                raw += await response.content.read(MAX_ANSWER_BYTES - len(raw))
            if response.status != 200:  # noqa: PLR2004 - the one status that has a transcript
                raise ValueError(f"status {response.status}: {raw[:200]!r}")
            return self._read(json.loads(raw))

    def _read(self, answer: Any) -> Transcript:  # noqa: ANN401 - whatever the service sent
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise ValueError("an answer without a text")  # noqa: TRY004 - it is foreign data, not our mistake
        return Transcript(text.strip(), self._language or _language(answer.get("language")))


def _spans(parts: Any, size: int) -> list[tuple[int, int]]:  # noqa: ANN401 - whatever the worker sent
    """Return where speech is, in bytes, within the sound."""
    spans = [(int(start) * BYTES_PER_SAMPLE, int(end) * BYTES_PER_SAMPLE) for start, end in parts or ()]
    return [(start, min(end, size)) for start, end in spans if 0 <= start < min(end, size)]


def _language(named: Any) -> str:  # noqa: ANN401 - whatever the service sent
    """Return a code of two letters; services of OpenAI's kind write the name out."""
    name = named.lower() if isinstance(named, str) else ""
    return name if len(name) == CODE_LENGTH and name.isascii() else LANGUAGES.get(name, "")
