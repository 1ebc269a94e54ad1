"""Speech recognition: the real model, confined; a service over HTTP; and what becomes of a message when it fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from bench.words import words_of
from botkit import Transcript
from chat_service.media.base import MediaError
from chat_service.media.model import FOLDER
from chat_service.media.pcm import BYTES_PER_SECOND, SAMPLE_RATE
from chat_service.media.pipe import Job, PipeMessage
from chat_service.media.pool import WorkerPool
from chat_service.media.recognizer import parts_of
from chat_service.media.speech_to_text import (
    RECOGNIZER_MEMORY_BYTES,
    EmbeddedSpeechToText,
    EndpointSpeechToText,
    RecognitionError,
    whisper_pool,
)
from tests.chat.media.making import RED, silent_mp3, tone, video
from tests.chat.media.spoken import is_nearly, mp3_of, pcm_of
from tests.chat.media.test_workers import until, workers_of

SENTENCE = "Good evening, and tell me the date, please."
NOTE = (  # they differ: Whisper leaves out what seems to be said again and again
    "The first thing is a loaf of bread.",
    "The train to the city was late again.",
    "My sister has a garden with apple trees.",
    "We met at the station in the morning.",
    "The weather was cold and it rained all day.",
    "He bought a new coat and a pair of shoes.",
    "The children played in the park after school.",
    "I would like to see the old bridge.",
    "Dinner is ready at seven.",
    SENTENCE,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with whisper_pool(FOLDER) as running:
        yield running


@pytest.fixture(scope="module")
def whisper(pool: WorkerPool) -> EmbeddedSpeechToText:
    return EmbeddedSpeechToText(pool)


@pytest.mark.parametrize(
    ("spans", "parts"),
    [
        ([], []),
        ([(0, 50)], [(0, 50)]),
        ([(0, 30), (40, 90), (95, 130)], [(0, 90), (95, 130)]),
        ([(10, 260)], [(10, 110), (110, 210), (210, 260)]),
        ([(10, 230), (240, 290)], [(10, 110), (110, 210), (210, 290)]),
    ],
)
def test_parts_are_cut_where_nobody_speaks(spans: list[tuple[int, int]], parts: list[tuple[int, int]]) -> None:
    thousand = SAMPLE_RATE // 5  # a unit is long enough to be kept
    scaled = [(start * thousand, end * thousand) for start, end in spans]
    assert parts_of(scaled, longest=100 * thousand) == [(start * thousand, end * thousand) for start, end in parts]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_sentence_is_recognized_with_its_language(whisper: EmbeddedSpeechToText) -> None:
    heard = await whisper.transcribe(pcm_of(SENTENCE), client_id="anna")
    assert is_nearly(SENTENCE, heard.text)
    assert heard.language == "en"


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_made_up_where_nobody_speaks(whisper: EmbeddedSpeechToText) -> None:
    assert (await whisper.transcribe(bytes(3 * BYTES_PER_SECOND), client_id="anna")).text == ""
    assert (await whisper.transcribe(b"\0\1" * 100, client_id="anna")).text == ""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_long_note_is_recognized_in_parts(whisper: EmbeddedSpeechToText) -> None:
    pause = bytes(2 * BYTES_PER_SECOND)
    sound = b"".join(pcm_of(sentence) + pause for sentence in NOTE)
    assert len(sound) > 35 * BYTES_PER_SECOND
    heard = await whisper.transcribe(sound, client_id="anna")
    assert is_nearly(" ".join(NOTE), heard.text)
    assert words_of(heard.text)[-1] == "please"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_worker_is_confined_and_the_model_within_its_memory(
    pool: WorkerPool, whisper: EmbeddedSpeechToText
) -> None:
    await whisper.transcribe(pcm_of(SENTENCE), client_id="anna")
    (pid,) = pool.pids
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[26:].split()[1] for line in lines}
    assert (limits["Max open files"], limits["Max file size"]) == ("32", "0")
    assert int(limits["Max address space"]) == RECOGNIZER_MEMORY_BYTES


async def test_voice_notes_and_videos_come_with_their_words() -> None:
    async with workers_of(1, recognizer=EmbeddedSpeechToText(whisper_pool(FOLDER), language="en")) as workers:
        voice = await workers.probe_audio(mp3_of(SENTENCE))
        assert voice.transcript is not None
        assert is_nearly(SENTENCE, voice.transcript.text)
        spoken = await workers.probe_video(video(RED, seconds=4, speech=pcm_of(SENTENCE)))
        assert spoken.transcript is not None
        assert is_nearly(SENTENCE, spoken.transcript.text)
        assert (await workers.probe_audio(silent_mp3(1))).transcript == Transcript("")
        assert (await workers.probe_video(video(RED))).transcript is None
        assert (await workers.probe_video(video(RED, sound=True))).transcript == Transcript("")


async def test_with_too_little_memory_the_pod_does_not_start() -> None:
    with pytest.raises(MediaError, match=r"CHAT_SPEECH_MEMORY is 600 MiB.*allocate"):
        await whisper_pool(FOLDER, memory_bytes=600 * 1024**2).__aenter__()


async def test_without_a_model_the_pod_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"CHAT_SPEECH_MODEL.*setup:speech"):
        await workers_of(1, recognizer=EmbeddedSpeechToText(whisper_pool(tmp_path))).__aenter__()


class SlowPool:
    """Workers that find some parts with speech, and do not end the last of them."""

    waiting = 0

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.done = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def run(self, job: PipeMessage, *, client_id: str, expected_seconds: float) -> PipeMessage:  # noqa: ARG002
        if job.head["job"] == Job.FIND_SPEECH:
            return PipeMessage({"parts": [(at, at + 10) for at in range(0, 10 * self.parts, 10)]})
        self.done += 1
        if self.done == self.parts:
            await asyncio.Event().wait()
        return PipeMessage({"text": f"part {self.done}", "language": "en"})


async def test_what_was_recognized_when_the_time_is_over_is_kept() -> None:
    heard = await EmbeddedSpeechToText(SlowPool(3), seconds=0.2).transcribe(bytes(60), client_id="anna")
    assert heard == Transcript("part 1 part 2 …", "en")
    with pytest.raises(RecognitionError, match="nothing was recognized within"):
        await EmbeddedSpeechToText(SlowPool(1), seconds=0.2).transcribe(bytes(20), client_id="anna")


class Stub:
    """Recognition that a test directs."""

    waiting = 0

    def __init__(self, outcome: Transcript | RecognitionError) -> None:
        self.outcome = outcome
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def transcribe(self, pcm: bytes, *, client_id: str) -> Transcript:  # noqa: ARG002 - as the port has it
        self.asked.append(len(pcm))
        await self.go_on.wait()
        if isinstance(self.outcome, RecognitionError):
            raise self.outcome
        return self.outcome


async def test_a_failure_leaves_the_message_without_words(capfd: pytest.CaptureFixture[str]) -> None:
    async with workers_of(1, recognizer=Stub(RecognitionError("the service is on fire"))) as workers:
        assert (await workers.probe_audio(tone(1, "a.mp3", "libmp3lame"))).transcript is None
    assert "the service is on fire" in capfd.readouterr().out


async def test_recordings_are_bounded_and_one_more_is_busy() -> None:
    stub = Stub(Transcript("hello"))
    stub.go_on.clear()
    note = tone(1, "a.mp3", "libmp3lame")
    async with workers_of(2, recognizer=stub, max_recordings=2) as workers:
        calls = [asyncio.create_task(workers.probe_audio(note)) for _ in range(2)]
        await until(lambda: len(stub.asked) == 2)
        with pytest.raises(MediaError) as refused:
            await workers.probe_audio(note)
        assert refused.value.code == "busy"
        stub.go_on.set()
        assert [(await call).transcript for call in calls] == [Transcript("hello")] * 2
        assert stub.asked == [pytest.approx(BYTES_PER_SECOND, rel=0.1)] * 2
        assert (await workers.probe_audio(note)).transcript == Transcript("hello")


class Service:
    """A service with OpenAI's API for transcriptions."""

    def __init__(self) -> None:
        self.answer: web.Response = web.json_response({"text": " Hello there. ", "language": "english"})
        self.asked: list[dict[str, object]] = []
        self.authorization = ""

    async def transcriptions(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        self.asked.append({**form, "file": file.file.read()})
        self.authorization = request.headers.get("Authorization", "")
        return self.answer


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, str]]:
    served = Service()
    app = web.Application()
    app.router.add_post("/v1/audio/transcriptions", served.transcriptions)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield served, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


def endpoint(url: str, *, language: str = "") -> EndpointSpeechToText:
    return EndpointSpeechToText(
        base_url=url, model="whisper-1", api_key=SecretStr("a-key"), language=language, seconds=10
    )


async def test_a_service_gets_a_wav_and_answers_with_words(service: tuple[Service, str]) -> None:
    served, url = service
    async with endpoint(url) as recognizer:
        assert await recognizer.transcribe(b"\1\0" * 16_000, client_id="anna") == Transcript("Hello there.", "en")
    (asked,) = served.asked
    assert (asked["model"], asked["response_format"], "language" in asked) == ("whisper-1", "json", False)
    assert isinstance(asked["file"], bytes)
    assert asked["file"][:4] == b"RIFF"
    assert len(asked["file"]) == 44 + 32_000
    assert served.authorization == "Bearer a-key"


async def test_the_language_of_the_settings_goes_along(service: tuple[Service, str]) -> None:
    served, url = service
    async with endpoint(url, language="de") as recognizer:
        assert (await recognizer.transcribe(b"\1\0" * 100, client_id="anna")).language == "de"
    assert served.asked[0]["language"] == "de"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="out of memory"),
        lambda: web.Response(text="no JSON"),
        lambda: web.json_response({"words": []}),
        lambda: web.json_response([]),
        lambda: web.Response(body=b'{"text": "' + b"x" * 2_000_000 + b'"}'),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    ],
)
async def test_whatever_a_service_answers_is_told_as_one_error(service: tuple[Service, str], answer: object) -> None:
    served, url = service
    assert callable(answer)
    served.answer = answer()
    async with endpoint(url) as recognizer:
        with pytest.raises(RecognitionError, match="did not answer as it should"):
            await recognizer.transcribe(b"\1\0" * 100, client_id="anna")


async def test_a_service_that_is_not_there() -> None:
    async with endpoint("http://127.0.0.1:9/v1") as recognizer:
        with pytest.raises(RecognitionError, match="did not answer"):
            await recognizer.transcribe(b"\1\0" * 100, client_id="anna")
