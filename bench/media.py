"""What voice and video cost, stage by stage, beside the bare calls on the same files: `./taskw bench:media -- --quick`.

Also: exchanges a second on two workers, how late the event loop is while videos are processed, and how many words of
spoken phrases are recognized wrongly.
"""

import argparse
import asyncio
import io
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import psutil
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from bench.machine import busy_share, cores, processor
from bench.samples import Sample, percentile
from bench.words import word_errors
from chat_service.media.audio import encode_mp3
from chat_service.media.model import FOLDER
from chat_service.media.pcm import PcmRecording, record
from chat_service.media.speech import SpeechSynthesizer
from chat_service.media.speech_to_text import EmbeddedSpeechToText, whisper_pool
from chat_service.media.text_to_speech import Voices
from chat_service.media.workers import ProcessMediaWorkers

PHRASES = (
    "What time is it?",
    "Tell me the date, please.",
    "Good morning, how are you?",
    "Who are you, and what can you do?",
    "What did I say first?",
    "Say good luck to everybody.",
    "Thank you very much.",
    "Which day is it today?",
    "I have to go now, goodbye.",
    "Can you repeat what I said?",
)
VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m3")
SPEEDS = (140, 175, 210)  # words a minute; espeak-ng's own is 175
LAG_STEP_SECONDS = 0.002
COLOURS = ((81, 90, 240), (145, 54, 34), (41, 240, 110))


@dataclass(slots=True)
class MediaFigures:
    """What was measured; seconds of time and of CPU for one file."""

    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    loop_lag_p99_ms: float = 0.0
    loop_lag_idle_p99_ms: float = 0.0
    word_error_rate: dict[str, float] = field(default_factory=dict)


def spoken(speaker: SpeechSynthesizer, text: str, voice: str = "", speed: int = 0) -> bytes:
    """Return a sentence as an MP3."""
    return encode_mp3(speaker.say(text, voice, words_per_minute=speed), sample_rate=speaker.sample_rate)


def pcm_of(mp3: bytes) -> bytes:
    """Return the sound of an MP3 as recognizers take it."""
    sound = PcmRecording()
    with av.open(io.BytesIO(mp3), "r") as file:
        record(file, file.streams.audio[0], sound, max_seconds=1e9)
    return sound.pcm


def film(seconds: int, size: tuple[int, int], pcm: bytes) -> bytes:
    """Return an MP4 of three plain shots with a moving bar, and speech."""
    rate, (width, height) = 25, size
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w") as file:
            track = file.add_stream("libx264", rate=rate)
            assert isinstance(track, VideoStream)
            track.width, track.height, track.pix_fmt = width, height, "yuv420p"
            sound = file.add_stream("aac", rate=16_000, layout="mono")
            assert isinstance(sound, AudioStream)
            for number in range(seconds * rate):
                colour = COLOURS[number * len(COLOURS) // (seconds * rate)]
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane, value in zip(frame.planes, colour, strict=True):
                    row = bytearray([value]) * plane.line_size
                    at = number * 3 % plane.width
                    row[at : at + 8] = bytes([255 - value]) * len(row[at : at + 8])
                    plane.update(bytes(row) * plane.height)
                frame.pts = number
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
            heard = av.AudioFrame(format="s16", layout="mono", samples=16_000 * seconds)
            heard.planes[0].update(pcm.ljust(2 * heard.samples, b"\0")[: 2 * heard.samples])
            heard.sample_rate = 16_000
            file.mux(sound.encode(heard))
            file.mux(sound.encode(None))
        return path.read_bytes()


def cpu_of(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


async def stage(pids: Callable[[], Sequence[int]], times: int, work: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    """Do something several times, one after the other; the medians for one."""
    seconds, cpu = [], []
    for _ in range(times):
        began, used = time.perf_counter(), cpu_of(pids())
        await work()
        seconds.append(time.perf_counter() - began)
        cpu.append(cpu_of(pids()) - used)
    return {"seconds": Sample(tuple(seconds)).median, "cpu": Sample(tuple(cpu)).median}


def bare(times: int, work: Callable[[], object]) -> dict[str, float]:
    """Do something several times in this process."""
    seconds, cpu = [], []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {"seconds": Sample(tuple(seconds)).median, "cpu": Sample(tuple(cpu)).median}


def decode_all(file: bytes) -> int:
    """Decode every frame, with FFmpeg and nothing of ours."""
    with av.open(io.BytesIO(file), "r") as container:
        for stream in container.streams.video:
            stream.codec_context.thread_count = 1
        return sum(1 for packet in container.demux() for _ in packet.decode())


async def measure_stages(found: MediaFigures, speaker: SpeechSynthesizer, times: int) -> None:
    """Measure each stage by itself, and the bare calls."""
    note = spoken(speaker, " ".join(PHRASES[:3]))
    clip = film(9, (640, 360), pcm_of(note))
    pcm = pcm_of(note)
    async with media() as workers, whisper_pool(FOLDER) as pool:
        recognizer = EmbeddedSpeechToText(pool, language="en")
        await recognizer.transcribe(pcm, client_id="warm-up")
        texts = iter(f"Number {number}. {PHRASES[0]} {PHRASES[1]}" for number in range(10_000))
        found.stages = {
            "voice: decode and check": await stage(
                lambda: workers.pids, times, lambda: workers.probe_audio(note, client_id="a")
            ),
            "voice: bare FFmpeg decode": bare(times, lambda: decode_all(note)),
            "voice: recognize": await stage(
                lambda: pool.pids, times, lambda: recognizer.transcribe(pcm, client_id="a")
            ),
            "voice: bare Whisper": bare_whisper(pcm, times),
            "reply: speak (espeak-ng)": await stage(
                lambda: workers.pids, times, lambda: workers.synthesize(next(texts), client_id="a")
            ),
            "video: check, shots, picture": await stage(
                lambda: workers.pids, times, lambda: workers.probe_video(clip, client_id="a")
            ),
            "video: bare FFmpeg decode": bare(times, lambda: decode_all(clip)),
        }


def bare_whisper(pcm: bytes, times: int) -> dict[str, float]:
    """Call Whisper on the same sound in this process."""
    import numpy  # noqa: ICN001, PLC0415 - an extra
    from faster_whisper import WhisperModel  # noqa: PLC0415

    model = WhisperModel(str(FOLDER), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    sound = numpy.frombuffer(pcm, numpy.int16).astype(numpy.float32) / (1 << 15)

    def transcribe() -> None:
        segments, _ = model.transcribe(sound, language="en", beam_size=5, without_timestamps=True)
        list(segments)

    transcribe()
    return bare(times, transcribe)


def media() -> ProcessMediaWorkers:
    """Return two workers, as a pod has them."""
    return ProcessMediaWorkers(
        processes=2, job_seconds=120, job_cpu_seconds=60, max_media_seconds=120, voices=Voices(), cache_bytes=0
    )


async def measure_rates(found: MediaFigures, speaker: SpeechSynthesizer, count: int) -> None:
    """Send many at once to two workers; meanwhile see how late the event loop is."""
    note = spoken(speaker, " ".join(PHRASES[:3]))
    clip = film(9, (640, 360), pcm_of(note))
    async with media() as workers:
        found.loop_lag_idle_p99_ms = await lag_during(asyncio.sleep(1.0))

        async def voice(number: int) -> None:
            await workers.probe_audio(note, client_id=f"c{number % 8}")
            await workers.synthesize(f"Reply {number}. {PHRASES[1]}", client_id=f"c{number % 8}")

        async def video(number: int) -> None:
            await workers.probe_video(clip, client_id=f"c{number % 8}")
            await workers.synthesize(f"Reply {number}. {PHRASES[1]}", client_id=f"c{number % 8}")

        lag = 0.0
        for name, exchange in (("voice", voice), ("video", video)):
            began = time.perf_counter()
            lag = await lag_during(asyncio.gather(*(exchange(number) for number in range(count))))
            found.rates[name] = count / (time.perf_counter() - began)
        found.loop_lag_p99_ms = lag


async def lag_during(work: Awaitable[Any]) -> float:
    """Return how late the event loop was while something went on: p99 in milliseconds."""
    late: list[float] = []

    async def look() -> None:
        while True:
            due = time.perf_counter() + LAG_STEP_SECONDS
            await asyncio.sleep(LAG_STEP_SECONDS)
            late.append(max(0.0, time.perf_counter() - due) * 1000)

    looking = asyncio.create_task(look())
    try:
        await work
    finally:
        looking.cancel()
    return percentile(late, 0.99)


async def measure_words(found: MediaFigures, speaker: SpeechSynthesizer, phrases: int, voices: Sequence[str]) -> None:
    """Recognize phrases in several voices and speeds; the share of wrong words by voice and speed, and of all."""
    async with whisper_pool(FOLDER, processes=min(2, cores())) as pool:
        recognizer = EmbeddedSpeechToText(pool, language="en", seconds=300)
        wrong = {"all": (0, 0)}
        for voice in voices:
            for speed in SPEEDS:
                notes = [pcm_of(spoken(speaker, phrase, voice, speed)) for phrase in PHRASES[:phrases]]
                for phrase, heard in zip(PHRASES, await recognize(recognizer, notes), strict=False):
                    counted = word_errors(phrase, heard)
                    for name in ("all", voice, f"{speed} words a minute"):
                        before = wrong.get(name, (0, 0))
                        wrong[name] = before[0] + counted[0], before[1] + counted[1]
        found.word_error_rate = {name: errors / words for name, (errors, words) in wrong.items()}


async def recognize(recognizer: EmbeddedSpeechToText, notes: Sequence[bytes]) -> list[str]:
    """Return what was understood of each."""
    heard = await asyncio.gather(
        *(recognizer.transcribe(note, client_id=f"c{number}") for number, note in enumerate(notes))
    )
    return [each.text for each in heard]


def report(found: MediaFigures) -> str:
    """Return everything as text."""
    lines = [f"{'':32}{'seconds':>9}{'CPU s':>9}"]
    lines += [f"{name:32}{at['seconds']:9.3f}{at['cpu']:9.3f}" for name, at in found.stages.items()]
    lines += [f"{name} exchanges a second, two workers: {rate:.1f}" for name, rate in found.rates.items()]
    lines.append(
        f"event loop late while videos are processed: p99 {found.loop_lag_p99_ms:.1f} ms "
        f"(with nothing to do: {found.loop_lag_idle_p99_ms:.1f} ms)"
    )
    lines += [f"word error rate, {name}: {rate:.1%}" for name, rate in found.word_error_rate.items()]
    return "\n".join(lines)


async def main(arguments: argparse.Namespace) -> MediaFigures:
    """Measure everything."""
    found, speaker = MediaFigures(), SpeechSynthesizer()
    stages, rates, voices = (1, 2, 1) if arguments.shortest else (3, 16, 2) if arguments.quick else (9, 64, len(VOICES))
    await measure_stages(found, speaker, stages)
    await measure_rates(found, speaker, rates)
    if arguments.phrases:
        await measure_words(found, speaker, arguments.phrases, VOICES[:voices])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.media", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and voices")
    parser.add_argument("--shortest", action="store_true", help="as few as can be, to see that it works")
    parser.add_argument("--phrases", type=int, default=len(PHRASES), help="phrases to recognize; 0: none")
    parser.add_argument("--json", type=Path, help="write what was measured to this file as well")
    chosen = parser.parse_args()
    sys.stdout.write(f"{processor()}, {cores()} cores, others use {busy_share():.0%} of them\n")
    measured = asyncio.run(main(chosen))
    sys.stdout.write(report(measured) + "\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(measured), indent=2) + "\n", encoding="utf-8")
