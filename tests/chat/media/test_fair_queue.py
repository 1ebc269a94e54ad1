"""Who gets the next free worker, in virtual time."""

import asyncio
from collections import Counter

import pytest

from chat_service.media.fair_queue import FairWorkerQueue, QueueClosed, QueueFull

pytestmark = pytest.mark.looptime


class Shop:
    """A queue of workers, and a record of who was served, in order."""

    def __init__(self, workers: int, *, per_client: int, max_waiting: int = 1000, **per_class: int) -> None:
        self.queue: FairWorkerQueue[object] = FairWorkerQueue(
            per_client=per_client, per_class=per_class, max_waiting=max_waiting
        )
        self.served: list[str] = []
        for _ in range(workers):
            self.queue.add(object())

    def job(
        self, client_id: str, seconds: float, expected_seconds: float = 0, job_class: str = ""
    ) -> "asyncio.Task[None]":
        return asyncio.create_task(self._job(client_id, seconds, expected_seconds, job_class))

    async def _job(self, client_id: str, seconds: float, expected_seconds: float, job_class: str) -> None:
        worker = await self.queue.take(client_id, expected_seconds=expected_seconds, job_class=job_class)
        self.served.append(client_id)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.queue.give_back(worker)


async def test_jobs_of_one_client_keep_their_order() -> None:
    shop = Shop(1, per_client=1)
    jobs = [shop.job("anna", 1, expected) for expected in (5, 1, 3)]
    for job in jobs:
        await job
        assert [each.done() for each in jobs] == [jobs.index(each) <= jobs.index(job) for each in jobs]


async def test_one_client_never_has_all_workers() -> None:
    shop = Shop(3, per_client=2)
    jobs = [shop.job("greedy", 100) for _ in range(10)]
    await asyncio.sleep(1)
    assert (shop.served, shop.queue.free, shop.queue.waiting) == (["greedy", "greedy"], 1, 8)
    async with asyncio.timeout(5):
        await shop.job("ben", 1)
    await asyncio.gather(*jobs)


@pytest.mark.parametrize("greedy", [1, 5, 20])
async def test_a_newcomer_waits_for_one_job_however_many_clients_have_files_waiting(greedy: int) -> None:
    shop = Shop(1, per_client=1)
    jobs = [shop.job(f"greedy-{number % greedy}", 10) for number in range(10 * greedy)]
    await asyncio.sleep(10 * greedy + 5)  # each has had one
    before = len(shop.served)
    await shop.job("ben", 1)
    assert shop.served[before] == "ben"
    await asyncio.gather(*jobs)


async def test_a_short_job_goes_before_long_ones_of_clients_that_are_as_new() -> None:
    shop = Shop(1, per_client=1)
    jobs = [shop.job(f"greedy-{number}", 10, expected_seconds=5) for number in range(20)]
    await asyncio.sleep(1)
    await shop.job("ben", 1, expected_seconds=0.1)
    assert shop.served == ["greedy-0", "ben", "greedy-1"]
    for job in jobs:
        job.cancel()


async def test_a_long_job_has_its_turn_though_new_clients_with_short_ones_keep_coming() -> None:
    shop = Shop(1, per_client=1)
    jobs = [shop.job("anna", 1, expected_seconds=0.1)]
    await asyncio.sleep(0.5)
    video = shop.job("ben", 1, expected_seconds=16)
    for number in range(100):
        jobs.append(shop.job(f"newcomer-{number}", 1, expected_seconds=0.1))
        await asyncio.sleep(1)
    assert video.done()
    await asyncio.gather(*jobs)


async def test_worker_time_is_shared_not_jobs() -> None:
    shop = Shop(1, per_client=1)
    jobs = [shop.job("long", 10) for _ in range(20)] + [shop.job("short", 1) for _ in range(200)]
    await asyncio.sleep(100)
    served = Counter(shop.served)
    assert served["long"] == pytest.approx(5, abs=1)
    assert served["short"] == pytest.approx(50, abs=10)
    for job in jobs:
        job.cancel()


async def test_time_in_which_a_client_asked_for_nothing_is_not_saved_up() -> None:
    shop = Shop(1, per_client=1)
    await shop.job("ben", 1)
    busy = [shop.job("anna", 10) for _ in range(20)]
    await asyncio.sleep(100)
    late = [shop.job("ben", 10) for _ in range(20)]
    before = len(shop.served)
    await asyncio.sleep(100)
    assert Counter(shop.served[before:])["anna"] == pytest.approx(5, abs=1)
    for job in (*busy, *late):
        job.cancel()


async def test_a_wait_that_is_cancelled_takes_no_worker() -> None:
    shop = Shop(1, per_client=1)
    running = shop.job("anna", 10)
    await asyncio.sleep(1)
    waiting = shop.job("ben", 10)
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert shop.queue.waiting == 0
    await running
    assert shop.queue.free == 1
    worker = await shop.queue.take("anna", expected_seconds=0)
    granted = shop.job("clara", 10)
    await asyncio.sleep(1)
    shop.queue.give_back(worker)
    granted.cancel()
    await asyncio.wait([granted])
    assert (shop.served, shop.queue.free) == (["anna"], 1)


async def test_closing_ends_every_wait() -> None:
    shop = Shop(1, per_client=1)
    running = shop.job("anna", 10)
    await asyncio.sleep(1)
    waiting = [shop.job("ben", 1), shop.job("clara", 1)]
    await asyncio.sleep(1)
    shop.queue.close()
    for job in waiting:
        with pytest.raises(QueueClosed):
            await job
    with pytest.raises(QueueClosed):
        await shop.queue.take("dora", expected_seconds=0)
    await running


async def test_a_class_never_has_more_workers_than_its_limit() -> None:
    shop = Shop(2, per_client=2, video=1)
    videos = [shop.job(f"client-{number}", 100, job_class="video") for number in range(4)]
    await asyncio.sleep(1)
    assert (len(shop.served), shop.queue.free, shop.queue.waiting) == (1, 1, 3)
    async with asyncio.timeout(5):
        await asyncio.gather(*(shop.job(f"speaker-{number}", 1, job_class="voice") for number in range(3)))
    await asyncio.gather(*videos)
    assert shop.queue.free == 2


async def test_a_voice_note_overtakes_the_videos_of_its_own_client() -> None:
    shop = Shop(2, per_client=2, video=1)
    videos = [shop.job("anna", 100, job_class="video") for _ in range(3)]
    async with asyncio.timeout(5):
        await shop.job("anna", 1, job_class="voice")
    await asyncio.gather(*videos)


async def test_a_class_keeps_its_limit_after_jobs_that_were_called_off() -> None:
    shop = Shop(2, per_client=2, video=1)
    for _ in range(5):
        job = shop.job("anna", 100, job_class="video")
        await asyncio.sleep(1)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    async with asyncio.timeout(5):
        await shop.job("ben", 1, job_class="video")
    assert shop.queue.free == 2


async def test_a_queue_that_is_full_takes_no_more() -> None:
    shop = Shop(1, per_client=1, max_waiting=2)
    jobs = [shop.job(f"client-{number}", 10) for number in range(3)]
    await asyncio.sleep(1)
    with pytest.raises(QueueFull):
        await shop.job("late", 1)
    await asyncio.gather(*jobs)
    await shop.job("later", 1)
