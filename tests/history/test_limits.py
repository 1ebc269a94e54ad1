"""Handing in more than the stores can take."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frameproto.exchange import encode_batch, encode_exchange
from history_service.blobs.base import BlobsUnavailable
from history_service.stores.base import StoreUnavailable
from tests.history.pod import MSGPACK, Pod, check_problem, open_pod, rich_exchange
from tests.support.exchanges import SESSION, exchange

SOON = 0.05
LONG = 60.0
BODY = encode_batch([encode_exchange(exchange())])


class Gate:
    """Holds up all that a store is asked to add, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pod: Pod) -> None:
        self.open = asyncio.Event()
        self.stuck = 0
        add: Callable[..., Any] = pod.store.exchanges.add

        async def late(exchanges: Sequence[Any]) -> Any:
            self.stuck += 1
            await self.open.wait()
            return await add(exchanges)

        monkeypatch.setattr(pod.store.exchanges, "add", late)

    async def holds(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.stuck < count:  # noqa: ASYNC110 - nothing tells when a request has come so far
                await asyncio.sleep(0.002)


class Upload:
    """A batch on its way, of which is known how much was read."""

    def __init__(self, body: bytes, announced: int | None = None) -> None:
        self.read = 0
        self._body = body
        self.headers = {**MSGPACK, **({} if announced is None else {"content-length": str(announced)})}

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 100):
            self.read += 1
            yield self._body[start : start + 100]

    async def send(self, pod: Pod) -> httpx2.Response:
        return await pod.http.post("/v1/exchanges", content=self.chunks(), headers=self.headers)


async def test_when_the_store_is_slow_more_than_a_few_batches_are_turned_away_unread_and_taken_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [exchange(str(number)) for number in range(6)]
    async with open_pod(tmp_path / "data", max_batches=2, ingest_wait_seconds=SOON) as pod:
        gate = Gate(monkeypatch, pod)
        async with asyncio.TaskGroup() as tasks:
            taken = [tasks.create_task(pod.post(one)) for one in batches[:2]]
            await gate.holds(2)
            assert await pod.metric("chatbot_history_batches_in_work") == 2
            assert await pod.metric("chatbot_history_bytes_in_work") > 2 * 100
            for one in batches[2:]:
                upload = Upload(encode_batch([encode_exchange(one)]))
                answer = await upload.send(pod)
                check_problem(answer, 429, "ingest_busy")
                assert (answer.headers["retry-after"], upload.read) == ("1", 0)
            gate.open.set()
        assert [task.result().status_code for task in taken] == [200, 200]
        assert await pod.metric("chatbot_history_batches_in_work") == 0
        assert await pod.metric("chatbot_history_bytes_in_work") == 0
        assert await pod.ingest(*batches) == ["duplicate"] * 2 + ["stored"] * 4


async def test_the_bytes_in_work_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, Any] = {"max_batch_bytes": 4096, "max_ingest_bytes": 6000, "ingest_wait_seconds": SOON}
    async with open_pod(tmp_path / "data", **limits) as pod:
        gate = Gate(monkeypatch, pod)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pod.post(exchange("x" * 3000)))
            await gate.holds(1)
            large = encode_batch([encode_exchange(exchange("x" * 3000))])
            check_problem(await Upload(large, len(large)).send(pod), 429, "ingest_busy")
            check_problem(await Upload(BODY).send(pod), 429, "ingest_busy")  # of unknown size: it may be the largest
            small = tasks.create_task(Upload(BODY, len(BODY)).send(pod))
            await gate.holds(2)
            gate.open.set()
        assert small.result().status_code == 200


async def test_who_waits_gets_the_next_place_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_pod(tmp_path / "data", max_batches=1, ingest_wait_seconds=LONG) as pod:
        gate = Gate(monkeypatch, pod)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pod.post(exchange("0")))
            await gate.holds(1)
            for number in range(1, 4):
                tasks.create_task(pod.post(exchange(str(number))))
                await asyncio.sleep(0)
            gate.open.set()
        kept = (await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"]
        assert sorted(m["text"] for m in kept if m["direction"] == "request") == ["0", "1", "2", "3"]
        assert gate.stuck == 4


async def test_a_batch_that_announces_too_much_is_not_read(tmp_path: Path) -> None:
    async with open_pod(tmp_path / "data", max_batch_bytes=4096) as pod:
        upload = Upload(bytes(5000), 5000)
        check_problem(await upload.send(pod), 413, "batch_too_large", detail="4096")
        assert upload.read == 0


async def test_a_batch_that_does_not_arrive_gives_its_place_back(tmp_path: Path) -> None:
    async def halting() -> AsyncIterator[bytes]:
        yield BODY[:20]
        await asyncio.Event().wait()

    async with open_pod(tmp_path / "data", max_batches=1, batch_seconds=SOON) as pod:
        answer = await pod.http.post("/v1/exchanges", content=halting(), headers=MSGPACK)
        check_problem(answer, 408, "batch_too_slow", detail="0.05 s")
        assert await pod.ingest(exchange()) == ["stored"]


async def test_whatever_becomes_of_a_batch_its_place_is_free_again(tmp_path: Path) -> None:
    async with open_pod(tmp_path / "data", max_batches=1, ingest_wait_seconds=SOON) as pod:
        pod.store.failure = StoreUnavailable
        assert (await pod.post(exchange())).status_code == 503
        pod.store.failure = RuntimeError
        assert (await pod.post(exchange())).status_code == 500
        pod.store.failure, pod.blobs.failure = None, BlobsUnavailable
        assert (await pod.post(rich_exchange())).status_code == 503
        pod.blobs.failure = None
        assert (await Upload(b"\xc1").send(pod)).status_code == 400
        assert await pod.metric("chatbot_history_batches_in_work") == 0
        assert await pod.ingest(exchange()) == ["stored"]
