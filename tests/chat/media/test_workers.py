import asyncio
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import espeakng_loader
import psutil
import pytest

from botkit import AudioInfo, VideoInfo
from chat_service.media.base import MediaError
from chat_service.media.boxes import WorkLimits
from chat_service.media.pipe import Job, PipeMessage, WorkerSettings
from chat_service.media.pool import WorkerPool
from chat_service.media.text_to_speech import Voices
from chat_service.media.workers import ProcessMediaWorkers
from frameproto import Buffer
from tests.chat.media.making import (
    BLUE,
    CLOCKWISE,
    GREEN,
    RED,
    loudness,
    picture_of,
    pixels,
    silent_mp3,
    slow_mp3,
    turned,
    video,
)

SLOW_SECONDS = 100_000.0  # slow_mp3 is long, too


class OfOneClient(ProcessMediaWorkers):
    """Workers whose jobs are anna's, unless a test says otherwise."""

    async def probe_audio(self, file: Buffer, *, client_id: str = "anna") -> AudioInfo:
        return await super().probe_audio(file, client_id=client_id)

    async def probe_video(self, file: Buffer, *, client_id: str = "anna") -> VideoInfo:
        return await super().probe_video(file, client_id=client_id)

    async def synthesize(self, text: str, *, client_id: str = "anna", language: str = "") -> bytes:
        return await super().synthesize(text, client_id=client_id, language=language)


def workers_of(processes: int = 1, **changed: object) -> OfOneClient:
    usual: dict[str, object] = {
        "job_seconds": 60.0,
        "job_cpu_seconds": 60.0,
        "max_media_seconds": SLOW_SECONDS,
        "per_client": processes,
    }
    return OfOneClient(processes=processes, **{**usual, **changed})  # type: ignore[arg-type]


@pytest.fixture
async def workers() -> AsyncIterator[OfOneClient]:
    async with workers_of(2) as running:
        yield running


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait until something is true that nobody tells us about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; nobody may have asked for its exit code yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_speak_hear_see(workers: OfOneClient) -> None:
    mp3 = await workers.synthesize("Good evening! It is five minutes past nine where you are.")
    root_mean_square, seconds = loudness(mp3)
    assert root_mean_square > 0.02
    assert (await workers.probe_audio(memoryview(mp3))).seconds == pytest.approx(seconds, abs=0.1)
    info = await workers.probe_video(memoryview(bytearray(video(RED, seconds=2, sound=True))))
    assert info.seconds == pytest.approx(2, abs=0.1)
    assert (info.width, info.height, info.has_sound) == (64, 48, True)
    assert pixels(info.picture)[1]["centre"] == pytest.approx((255, 0, 0), abs=12)


async def test_speech_grows_with_the_text(workers: OfOneClient) -> None:
    short, long, none = await asyncio.gather(*(workers.synthesize(text) for text in ("Hello.", "Hello. " * 10, "…")))
    assert loudness(long)[1] > 5 * loudness(short)[1]
    assert (await workers.probe_audio(none)).seconds > 0


async def test_voice_notes_do_not_wait_for_long_videos_and_a_full_queue_is_busy() -> None:
    async with workers_of(2, max_waiting=3) as workers:
        long = video(RED, seconds=300, rate=25, size=(320, 240))
        videos = [asyncio.create_task(workers.probe_video(long, client_id=f"v{number}")) for number in range(4)]
        await until(lambda: workers.waiting == 3)
        with pytest.raises(MediaError) as refused:
            await workers.probe_audio(silent_mp3(1), client_id="late")
        assert refused.value.code == "busy"
        videos[-1].cancel()
        await until(lambda: workers.waiting == 2)
        assert (await workers.probe_audio(silent_mp3(1), client_id="ben")).seconds > 0
        assert not any(each.done() for each in videos[:-1])
    ended = await asyncio.gather(*videos, return_exceptions=True)
    assert isinstance(ended[-1], asyncio.CancelledError)


@pytest.mark.parametrize(
    ("kind", "make", "code"),
    [
        ("probe_audio", lambda: picture_of(RED), "media_unreadable"),
        ("probe_audio", lambda: b"", "media_unreadable"),
        ("probe_video", lambda: video(RED)[:-100], "media_unreadable"),
        ("probe_video", lambda: silent_mp3(1), "media_unreadable"),
        ("probe_audio", lambda: silent_mp3(3), "media_too_long"),
        ("probe_video", lambda: video(RED, seconds=3), "media_too_long"),
    ],
)
async def test_what_the_client_can_mend(kind: str, make: Callable[[], bytes], code: str) -> None:
    async with workers_of(max_media_seconds=2) as workers:
        before = workers.pids
        with pytest.raises(MediaError) as refused:
            await getattr(workers, kind)(make())
        assert refused.value.code == code
        assert str(refused.value)
        assert (await workers.probe_audio(silent_mp3(1))).seconds > 0
        assert workers.pids == before


async def test_jobs_run_side_by_side_and_in_order() -> None:
    done: list[str] = []

    async def speak(speaking: OfOneClient, text: str) -> None:
        await speaking.synthesize(text)
        done.append(text)

    async with workers_of(1) as workers:
        await asyncio.gather(*(speak(workers, f"number {number}") for number in range(5)))
    assert done == [f"number {number}" for number in range(5)]
    async with workers_of(2) as workers:
        slow = asyncio.create_task(workers.probe_audio(slow_mp3(10)))
        await until(lambda: workers.busy == 1)
        await workers.synthesize("meanwhile")
        assert not slow.done()
        await slow


async def test_slow_files_of_one_client_leave_a_worker_to_another() -> None:
    async with workers_of(2, per_client=1) as workers:
        files = [asyncio.create_task(workers.probe_audio(slow_mp3(10), client_id="greedy")) for _ in range(4)]
        await until(lambda: workers.waiting == 3)
        assert workers.busy == 1
        assert (await workers.probe_audio(silent_mp3(1), client_id="ben")).seconds > 0
        assert await workers.synthesize("one second of silence", client_id="ben")
        assert not any(file.done() for file in files)
        for file in files:
            file.cancel()
        await asyncio.wait(files)


async def test_a_voice_note_waits_for_one_job_of_others_however_many_there_are() -> None:
    async with workers_of(1) as workers:
        files = [asyncio.create_task(workers.probe_audio(slow_mp3(3), client_id=f"greedy-{n}")) for n in (1, 2, 3) * 2]
        await until(files[0].done)
        await workers.probe_audio(silent_mp3(1), client_id="ben")
        assert sum(file.done() for file in files) <= 2
        for file in files:
            file.cancel()
        await asyncio.wait(files)


async def test_a_job_that_takes_too_long_is_killed_with_its_worker(capfd: pytest.CaptureFixture[str]) -> None:
    async with workers_of(1, job_seconds=1) as workers:
        (before,) = workers.pids
        with pytest.raises(MediaError) as failed:
            await workers.probe_audio(slow_mp3(60))
        assert failed.value.code == "media_failed"
        assert is_gone(before)
        assert (await workers.probe_audio(silent_mp3(1))).seconds > 0
        assert workers.pids != [before]
    assert "media.worker_died" in capfd.readouterr().out


async def test_a_file_that_takes_too_much_work_is_the_fault_of_its_sender(capfd: pytest.CaptureFixture[str]) -> None:
    async with workers_of(1, job_cpu_seconds=0.5) as workers:
        (before,) = workers.pids
        with pytest.raises(MediaError, match="more work than") as refused:
            await workers.probe_audio(slow_mp3(60))
        assert refused.value.code == "media_too_complex"
        assert is_gone(before)
        assert (await workers.probe_audio(silent_mp3(1))).seconds > 0
    assert "media.worker_died" not in capfd.readouterr().out


async def test_each_job_has_its_own_cpu_time() -> None:
    async with workers_of(1, job_cpu_seconds=2) as workers:
        before = workers.pids
        worker = psutil.Process(before[0])
        for _ in range(100):
            await workers.probe_audio(slow_mp3(1))
            if worker.cpu_times().user > 2 * 1.5:
                break
        assert worker.cpu_times().user > 2
        assert workers.pids == before


async def test_the_limits_of_an_mp4_reach_the_workers() -> None:
    async with workers_of(1, limits=WorkLimits(max_entries=10)) as workers:
        with pytest.raises(MediaError) as refused:
            await workers.probe_video(video(RED, seconds=3))
        assert refused.value.code == "media_too_complex"


async def test_a_huge_index_of_segments_costs_nothing() -> None:
    entries = 40_000
    index = (
        struct.pack(">IIIIIHH", 0, 1, 1000, 0, 0, 0, entries) + struct.pack(">III", 1000, 1000, 0x9000_0000) * entries
    )
    mp4 = video(RED, movflags="+frag_keyframe+empty_moov+default_base_moof")
    at = mp4.index(b"moof") - 4
    async with workers_of(1, job_cpu_seconds=5) as workers:  # FFmpeg takes 15 seconds for it on a quiet machine
        info = await workers.probe_video(
            mp4[:at] + (struct.pack(">I4s", 8 + len(index), b"sidx") + index) * 12 + mp4[at:]
        )
    assert info.seconds == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL])
async def test_a_crash_takes_only_its_own_job_along(how: signal.Signals, workers: OfOneClient) -> None:
    first, second = workers.pids
    crashing = asyncio.create_task(workers.probe_audio(slow_mp3(20)))
    await until(lambda: workers.busy == 1)
    other = asyncio.create_task(workers.probe_audio(slow_mp3(5)))
    await until(lambda: workers.busy == 2)
    waiting = asyncio.create_task(workers.synthesize("I wait for a free worker"))
    os.kill(first, how)
    with pytest.raises(MediaError) as failed:
        await crashing
    assert failed.value.code == "media_failed"
    assert how.name not in str(failed.value)  # that is for our log
    assert (await other).seconds > 1000
    assert loudness(await waiting)[1] > 0.5
    await until(lambda: workers.busy == 0)
    assert second in workers.pids
    assert first not in workers.pids
    assert len(workers.pids) == 2


async def test_workers_killed_between_jobs_are_replaced(workers: OfOneClient) -> None:
    before = workers.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not workers.pids)
    spoken = await asyncio.gather(*(workers.synthesize("still here") for _ in range(4)))
    assert all(spoken)
    assert len(workers.pids) == 2
    assert not set(workers.pids) & set(before)


@pytest.mark.parametrize(
    ("kind", "make", "spare_mib"),
    [
        ("probe_audio", lambda: slow_mp3(200), 24),  # does not even fit in there
        ("probe_video", lambda: video(RED, size=(4096, 2304), seconds=0.1, codec="mpeg4"), 24),
        ("probe_video", lambda: video(RED, size=(4096, 2304), seconds=0.1), 20),  # FFmpeg goes on without a picture
    ],
)
async def test_a_job_that_eats_memory_fails_alone(kind: str, make: Callable[[], bytes], spare_mib: int) -> None:
    async with workers_of(1) as idle:
        at_rest = psutil.Process(idle.pids[0]).memory_info().vms  # differs with the versions of Python and FFmpeg
    async with workers_of(1, memory_bytes=at_rest + spare_mib * 1024**2) as workers:
        with pytest.raises(MediaError) as failed:
            await getattr(workers, kind)(make())
        assert failed.value.code in {"media_failed", "media_too_complex"}
        assert loudness(await workers.synthesize("still here"))[1] > 0.3


async def test_workers_take_the_same_address_space_whichever_thread_asks_first() -> None:
    async with workers_of(6) as workers:
        processes = [psutil.Process(pid) for pid in workers.pids]
        at_start = [process.memory_info().vms for process in processes]
        await asyncio.gather(*(workers.synthesize("hello") for _ in range(6)))
        after_a_job = [process.memory_info().vms for process in processes]
        assert max(after_a_job) < min(at_start) + 48 * 1024**2  # an arena of a thread takes 64


async def test_a_worker_stays_as_small_as_it_was_however_many_videos_it_sees() -> None:
    mp4 = turned(video(RED, GREEN, BLUE, seconds=1.8), CLOCKWISE)
    async with workers_of(1) as workers:
        assert (await workers.probe_video(mp4)).shots == 3
        worker = psutil.Process(workers.pids[0])
        threads, size = worker.num_threads(), worker.memory_info().vms
        for _ in range(30):
            await workers.probe_video(mp4)
        assert worker.num_threads() == threads
        assert worker.memory_info().vms < size + 8 * 1024**2


async def test_a_worker_with_a_fault_is_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    settings = WorkerSettings(
        memory_bytes=0,
        job_cpu_seconds=60,
        max_media_seconds=10,
        voice="en",
        better_voice=False,
        other_formats=True,
        max_boxes=1000,
        max_entries=1000,
    )
    async with WorkerPool(settings, processes=1, job_seconds=60) as pool:
        (before,) = pool.pids
        with pytest.raises(MediaError) as failed:
            await pool.run(PipeMessage({"job": "dance"}), client_id="anna", expected_seconds=1)
        assert failed.value.code == "media_failed"
        assert is_gone(before)
        spoken = await pool.run(PipeMessage({"job": Job.SYNTHESIZE}, b"ready"), client_id="anna", expected_seconds=1)
        assert loudness(bytes(spoken.body))[0] > 0.02
    assert "is not a valid Job" in capfd.readouterr().out


async def test_cancelling_waits_for_the_real_end(workers: OfOneClient) -> None:
    calling = asyncio.create_task(workers.probe_audio(slow_mp3(15)))
    await until(lambda: workers.busy == 1)
    for _ in range(3):
        calling.cancel()
        await asyncio.sleep(0)
    await workers.synthesize("a job on the other worker, which takes less time")
    assert not calling.done()
    assert workers.busy == 1
    await asyncio.wait([calling])
    assert calling.cancelled()
    assert workers.busy == 0


async def test_cancelling_a_job_that_fails() -> None:
    async with workers_of(1, job_seconds=0.3) as workers:
        calling = asyncio.create_task(workers.probe_audio(slow_mp3(30)))
        await until(lambda: workers.busy == 1)
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()


async def test_a_time_limit_around_a_call_works() -> None:
    async with workers_of(1) as workers:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await workers.probe_audio(slow_mp3(5))
        assert workers.busy == 0


async def test_a_call_that_waits_in_line_is_given_up_at_once() -> None:
    async with workers_of(1) as workers:
        slow = asyncio.create_task(workers.probe_audio(slow_mp3(1)))
        await until(lambda: workers.busy == 1)
        [worker] = workers.pids
        os.kill(worker, signal.SIGSTOP)  # until it goes on, the slow job cannot end
        waiting = asyncio.create_task(workers.synthesize("never said"))
        after = asyncio.create_task(workers.synthesize("said after the slow one"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert not slow.done()
        os.kill(worker, signal.SIGCONT)
        assert await after
        assert slow.done()


async def test_leaving_ends_everything_at_once() -> None:
    async with workers_of(2) as workers:
        pids = workers.pids
        under_way = [asyncio.create_task(workers.probe_audio(slow_mp3(60))) for _ in range(2)]
        await until(lambda: workers.busy == 2)
        waiting = asyncio.create_task(workers.synthesize("too late"))
        await asyncio.sleep(0)
    for call in (*under_way, waiting):
        with pytest.raises(MediaError, match="stopping") as refused:
            await call
        assert refused.value.code == "media_failed"
    assert all(map(is_gone, pids))
    with pytest.raises(MediaError, match="stopping"):
        await workers.synthesize("much too late")


async def test_leaving_while_a_worker_starts_again() -> None:
    async with workers_of(1) as workers:
        crashing = asyncio.create_task(workers.probe_audio(slow_mp3(20)))
        await until(lambda: workers.busy == 1)
        os.kill(workers.pids[0], signal.SIGKILL)
        with pytest.raises(MediaError):
            await crashing
    assert workers.pids == []
    assert not [child for child in psutil.Process().children() if "chat_service.media.worker" in child.cmdline()]


async def test_a_voice_that_does_not_exist() -> None:
    workers = ProcessMediaWorkers(
        processes=2, job_seconds=1, job_cpu_seconds=1, max_media_seconds=1, voices=Voices("no-such-voice")
    )
    with pytest.raises(MediaError, match='no voice "no-such-voice"') as failed:
        await workers.__aenter__()
    assert failed.value.code == "media_failed"
    assert workers.pids == []


@pytest.mark.parametrize(("program", "why"), [("/bin/false", "exit code 1"), ("/nonexistent", "No such file")])
async def test_workers_that_do_not_start(program: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(MediaError, match=why):
        async with workers_of(2):
            pytest.fail("they cannot have started")


async def test_a_worker_that_does_not_start_again_fails_jobs_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async with workers_of(1) as workers:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/bin/false")
            os.kill(workers.pids[0], signal.SIGKILL)
            await until(lambda: not workers.pids)
            for _ in range(2):
                with pytest.raises(MediaError) as failed:
                    await workers.synthesize("nobody is there")
                assert failed.value.code == "media_failed"
            await until(lambda: workers.busy == 0)
        assert await workers.synthesize("here again")


async def test_signals_to_everybody_do_not_reach_the_workers(workers: OfOneClient) -> None:
    before = workers.pids
    for pid in before:
        assert os.getpgid(pid) != os.getpgid(0)  # Ctrl-C goes to the group of the pod
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, stop)
    assert all(await asyncio.gather(*(workers.synthesize("still here") for _ in range(4))))
    assert workers.pids == before


async def test_workers_do_not_know_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_TOKEN_SECRETS", "top secret")
    async with workers_of(1) as workers:
        environment = psutil.Process(workers.pids[0]).environ()
    assert "top secret" not in environment.values()
    assert "PYTHONPATH" in environment


async def test_an_installation_in_a_deep_folder_can_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-quite-a-long-name"] * 6)
    deep.mkdir(parents=True)
    deep.joinpath("espeakng_loader").symlink_to(Path(espeakng_loader.__file__).parent)
    monkeypatch.syspath_prepend(deep)
    async with workers_of(1) as workers:
        assert str(deep) in psutil.Process(workers.pids[0]).environ()["PYTHONPATH"]
        assert loudness(await workers.synthesize("deep down"))[0] > 0.02


PARENT = """
import asyncio, sys
from chat_service.media.workers import ProcessMediaWorkers
from tests.chat.media.making import slow_mp3

async def main(slow):
    async with ProcessMediaWorkers(processes=2, job_seconds=60, job_cpu_seconds=60, max_media_seconds=1e9) as workers:
        job = asyncio.create_task(workers.probe_audio(slow_mp3(100), client_id='anna')) if slow else None
        await asyncio.sleep(0.3)
        print(*workers.pids, flush=True)
        await asyncio.sleep(60)

{run}(main(bool(int(sys.argv[1]))))
"""


@pytest.mark.parametrize("busy", ["0", "1"])
@pytest.mark.parametrize("run", ["asyncio.run", "__import__('uvloop').run"])
async def test_workers_end_with_a_pod_that_is_killed(busy: str, run: str) -> None:
    pod = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT.format(run=run), busy),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert pod.stdout is not None
    try:
        async with asyncio.timeout(90):
            pids = [int(pid) for pid in (await pod.stdout.readline()).split()]
        assert len(pids) == 2
        assert not any(map(is_gone, pids))
    finally:
        pod.kill()
        await pod.wait()
    await until(lambda: all(map(is_gone, pids)))
