"""Records that cannot be delivered: found, passed by and set aside, while an outage sets nothing aside."""

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from chat_service import relay
from chat_service.metrics import ChatMetrics
from chat_service.outbox import Outbox
from chat_service.outbox.spool import Spool
from chat_service.relay import OutboxRelay
from devtools.processes import running
from frameproto import Request, RequestKind, encode_request
from servicekit.tasks import background, first_of
from tests.chat.outbox.parts import BIG, append, drained, files
from tests.chat.relay_parts import (
    Answer,
    History,
    Round,
    hang_up,
    on_its_way,
    problem,
    until,
)
from tests.support.exchanges import exchange

LETTERS = [*"abcdefgh"]
LARGE = "x" * 200_000
FAULT = problem(500, "internal")


def failing(history: History, answer: Answer, poison: Callable[[str], bool]) -> None:
    """Let history answer so whenever one of these is in the batch."""

    async def usual(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        return await (answer if any(map(poison, texts)) else history.take)(request, texts)

    history.usual = usual


async def talk(way: Round, count: int, name: str = "more") -> list[str]:
    """Keep one record after the other, each when the one before was taken."""
    texts = [f"{name} {number}" for number in range(count)]
    for text in texts:
        await way.keep(text)
        await until(lambda text=text: text in way.history.kept)  # type: ignore[misc]
        await asyncio.sleep(0.005)
    return texts


@pytest.mark.parametrize(
    "poison", [["a"], ["d"], ["h"], ["d", "e"], ["a", "h"], ["b", "c", "d", "e", "f"]], ids="".join
)
@pytest.mark.parametrize("status", [500, 501, 520])
async def test_a_record_that_makes_history_fail_is_set_aside_and_the_others_are_delivered(
    tmp_path: Path, poison: list[str], status: int
) -> None:
    history = History()
    failing(history, problem(status, "internal"), poison.__contains__)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, *LETTERS, max_failures=4, last_retry_seconds=0.004) as way:
            await until(lambda: set(history.kept) >= set(LETTERS) - set(poison))
            more: list[str] = []
            while way.outbox.refused < len(poison):
                assert len(more) < 500
                more += await talk(way, 1, str(len(more)))
            await way.all_gone()
            assert sorted(history.kept) == sorted({*LETTERS, *more} - set(poison))
            assert way.relay.stats.refused == len(poison)
    refused = [entry for entry in logs if entry["event"] == "delivery.refused"]
    assert {entry["reason"] for entry in refused} == {f"{status} internal, 4 times, while history took other records"}
    assert all((tmp_path / entry["file"]).exists() for entry in refused)
    reason = (tmp_path / refused[0]["file"]).with_suffix(".reason").read_text()
    assert "internal" in reason


async def test_one_that_was_set_aside_is_counted_and_delivered_when_it_is_moved_back(tmp_path: Path) -> None:
    history, metrics = History(), ChatMetrics()
    failing(history, FAULT, "poison".__eq__)
    quick: dict[str, Any] = {"max_failures": 2, "last_retry_seconds": 0.002, "observer": metrics.delivery}

    def refused() -> float | None:
        return metrics.registry.get_sample_value("chatbot_delivery_exchanges_total", {"outcome": "refused"})

    async with on_its_way(tmp_path, history, "a", "poison", **quick) as way:
        while not refused():  # it is counted after it was moved
            await talk(way, 1, str(len(history.kept)))
    assert refused() == 1
    (record,) = (file for file in files(tmp_path, "refused") if file.suffix == ".record")
    record.rename(tmp_path / "waiting" / record.name)
    history.usual = history.take
    async with on_its_way(tmp_path, history) as way:
        await way.all_gone()
    assert "poison" in history.kept


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FAULT, id="500"),
        pytest.param(problem(503, "store_unavailable"), id="503"),
        pytest.param(problem(502, ""), id="502"),
        pytest.param(problem(429, "busy", Retry_After="0"), id="429"),
        pytest.param(problem(404, "not_found"), id="404"),
        pytest.param(problem(401, "token_expired"), id="401"),
        pytest.param(hang_up, id="the connection breaks"),
    ],
)
async def test_an_outage_sets_nothing_aside_and_then_everything_is_delivered(tmp_path: Path, answer: Answer) -> None:
    history = History()
    history.usual = answer
    quick: dict[str, Any] = {"first_retry_seconds": 0.0001, "last_retry_seconds": 0.001, "denied_retry_seconds": 0.001}
    async with on_its_way(tmp_path, history, *LETTERS, max_failures=2, **quick) as way:
        await way.failures(100)
        await way.keep("new")
        assert way.outbox.depth == 9
        history.usual = history.take
        await way.all_gone()
        assert sorted(history.kept) == sorted([*LETTERS, "new"])
        assert (way.outbox.refused, way.relay.stats.refused) == (0, 0)


async def test_one_record_that_fails_while_there_are_no_others_is_never_set_aside(tmp_path: Path) -> None:
    """There is nothing to tell it from an outage."""
    history = History()
    history.usual = FAULT
    async with on_its_way(tmp_path, history, "a", max_failures=2, last_retry_seconds=0.001) as way:
        await way.failures(50)
        assert (way.outbox.depth, way.outbox.refused) == (1, 0)
        history.usual = history.take
        await way.all_gone()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(problem(503, "store_unavailable"), id="media are away, or a part of the database"),
        pytest.param(hang_up, id="the connection breaks"),
    ],
)
async def test_what_may_be_taken_later_is_passed_by_and_waits(tmp_path: Path, answer: Answer) -> None:
    history = History()
    failing(history, answer, lambda text: text in "bc")
    async with on_its_way(tmp_path, history, *LETTERS, max_failures=2, last_retry_seconds=0.002) as way:
        more = await talk(way, 30)
        await until(lambda: way.outbox.deferred == 2)
        assert (way.outbox.depth, way.outbox.refused) == (2, 0)
        assert sorted(history.kept) == sorted({*LETTERS, *more} - {"b", "c"})
        history.usual = history.take
        await way.all_gone()
        assert way.outbox.deferred == 0
        assert history.kept[-2:] in (["b", "c"], ["c", "b"])


async def test_one_that_always_takes_too_long_is_passed_by(tmp_path: Path) -> None:
    history = History()
    failing(history, problem(408, "batch_too_slow"), "b".__eq__)
    async with on_its_way(tmp_path, history, *LETTERS, max_failures=2) as way:
        await until(lambda: way.outbox.depth == 1)
        assert set(history.kept) == set(LETTERS) - {"b"}
        assert [len(texts) for texts in history.asked[:3]] == [8, 4, 2]
        assert way.outbox.refused == 0


async def test_history_may_ask_for_a_pause_of_a_deferred_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, asked_to_wait, waits = History(), asyncio.Event(), 0

    async def counted(*events: Any, **options: Any) -> None:
        nonlocal waits
        waits += 1
        await first_of(*events, **options)

    monkeypatch.setattr(relay, "first_of", counted)

    async def later(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        asked_to_wait.set()
        return await problem(503, "busy", Retry_After="1000")(request, texts)

    failing(history, problem(503, "busy"), "b".__eq__)
    async with on_its_way(tmp_path, history, *"abc", max_failures=2, last_retry_seconds=1000) as way:
        await until(lambda: history.kept == ["a", "c"])
        failing(history, later, "b".__eq__)
        await asked_to_wait.wait()
        tried = len(history.asked)
        await talk(way, 20)
        assert history.asked[tried:].count(["b"]) <= 1, "once more after the first success: it may have been an outage"
        assert (way.outbox.depth, way.outbox.deferred) == (1, 1)
        assert waits < 200, "it sleeps meanwhile"


async def test_a_record_that_is_deferred_is_a_failure_like_any_other_and_a_pause_follows(tmp_path: Path) -> None:
    history = History()
    history.usual = FAULT
    long: dict[str, Any] = {"first_retry_seconds": 1000, "last_retry_seconds": 1000}
    async with on_its_way(tmp_path, history, "a", max_failures=1, **long) as way:
        await until(lambda: way.outbox.deferred == 1)
        await way.keep("b")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(history.asked_times(2), 0.5)
        assert history.asked == [["a"]]


async def test_deferred_records_are_there_for_the_next_process(tmp_path: Path) -> None:
    history = History()
    failing(history, FAULT, "b".__eq__)
    async with on_its_way(tmp_path, history, *"abc", max_failures=2) as way:
        await until(lambda: history.kept == ["a", "c"] and way.outbox.depth == 1)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await drained(outbox) == ["b"]
    await outbox.close()


def break_file(folder: Path, kind: str, index: int, how: str) -> Path:
    """Make a file unreadable as the super user may meet it, and return it."""
    file = files(folder, kind)[index]
    file.rename(folder / "moved")
    if how == "EISDIR":
        file.mkdir()
    else:
        file.symlink_to(file)
    return file


def mend_file(folder: Path, file: Path) -> None:
    file.unlink() if file.is_symlink() else file.rmdir()
    (folder / "moved").rename(file)


@pytest.mark.parametrize("how", ["EISDIR", "ELOOP"])
async def test_an_unreadable_segment_is_named_and_holds_up_nobody(tmp_path: Path, how: str) -> None:
    history = History()
    for text in "abc":  # each process begins a segment
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        await append(outbox, exchange(text))
        await outbox.close()
    file = break_file(tmp_path, "log", 1, how)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "d") as way:  # a folder that has it can be opened, too
            await until(lambda: way.outbox.depth == 1)
            assert history.kept == ["a", "c", "d"]
            assert (way.outbox.depth, way.outbox.deferred, way.outbox.refused) == (1, 1, 0)
            await until(lambda: way.relay.stats.retries > 1)
            mend_file(tmp_path, file)
            await way.all_gone()
            assert history.kept == ["a", "c", "d", "b"]
            assert (way.outbox.size_bytes, way.outbox.deferred) == (0, 0)
    told = [entry for entry in logs if entry["event"] == "outbox.unreadable"]
    assert [entry["file"] for entry in told] == [f"log/{file.name}"]
    assert files(tmp_path, "log") == []


@pytest.mark.parametrize("how", ["EISDIR", "ELOOP"])
async def test_an_unreadable_record_is_named_and_holds_up_nobody(tmp_path: Path, how: str) -> None:
    history = History()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in ("a", LARGE, "c"):
        await append(outbox, exchange(text))
    file = break_file(tmp_path, "waiting", 0, how)
    await outbox.close()
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "d") as way:  # a folder that has it can be opened, too
            await until(lambda: way.outbox.depth == 1)
            assert history.kept == ["a", "c", "d"]
            assert (way.outbox.depth, way.outbox.deferred, way.outbox.refused) == (1, 1, 0)
            await until(lambda: way.relay.stats.retries > 1)
            mend_file(tmp_path, file)
            await way.all_gone()
            assert history.kept == ["a", "c", "d", LARGE]
    told = [entry for entry in logs if entry["event"] == "outbox.unreadable"]
    assert [entry["file"] for entry in told] == [f"waiting/{file.name}"]
    assert told[0]["reason"] in {"Is a directory", "Too many levels of symbolic links"}


async def test_a_flush_ends_when_what_is_left_cannot_be_delivered(tmp_path: Path) -> None:
    history = History()
    failing(history, FAULT, "poison".__eq__)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in ("a", LARGE, "poison", "b"):
        await append(outbox, exchange(text))
    break_file(tmp_path, "waiting", 0, "EISDIR")
    await outbox.close()
    async with on_its_way(tmp_path, history, *"cd", max_failures=3, last_retry_seconds=1000) as way:
        async with asyncio.timeout(60):
            assert await way.relay.flush(1000) == 2
        assert history.kept == [*"abcd"]


async def test_a_flush_ends_when_what_is_left_is_a_segment_that_cannot_be_read(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    file = break_file(tmp_path, "log", 0, "EISDIR")  # after it was looked through
    async with aiohttp.ClientSession() as http:
        delivering = OutboxRelay(outbox, history_url="http://127.0.0.1:9", http=http, first_retry_seconds=1000)
        async with background(delivering.run(), name="relay"), asyncio.timeout(60):
            assert await delivering.flush(1000) == 3
    assert outbox.deferred == 3
    mend_file(tmp_path, file)
    assert await outbox.peek_deferred() is None
    assert await drained(outbox) == [*"abc"]
    await outbox.close()


async def test_a_refused_record_for_which_the_disk_has_no_room_is_passed_by_and_tried_with_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History()

    async def not_b(_request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        history.kept += [text for text in texts if text != "b"]
        return web.json_response({"results": [{"outcome": "refused" if text == "b" else "stored"} for text in texts]})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    history.usual = not_b
    async with on_its_way(tmp_path, history, *"abc", first_retry_seconds=1000, last_retry_seconds=1000) as way:
        with monkeypatch.context() as patch:
            patch.setattr(Spool, "write_dead_letter", full)
            await until(lambda: way.relay.stats.retries == 1)
            await talk(way, 5)
            assert history.asked[:2] == [["a", "b", "c"], ["b"]]
            assert [text for texts in history.asked[2:] for text in texts] == [f"more {number}" for number in range(5)]
            assert (way.outbox.depth, way.outbox.refused, way.relay.stats.refused) == (1, 0, 0)
            async with asyncio.timeout(60):
                assert await way.relay.flush(1000) == 1, "a flush does not wait for room"
        assert await way.relay.flush(20) == 0
        assert (way.outbox.refused, way.relay.stats.refused) == (1, 1)


async def test_a_denied_token_is_told_once_and_not_tried_like_an_outage(tmp_path: Path) -> None:
    history, counted = History(), []

    class Observer:
        def delivered(self, *_: object) -> None:
            pass

        def dead_lettered(self) -> None:
            raise AssertionError

        def failed(self, *, denied: bool) -> None:
            counted.append(denied)

    history.usual = problem(401, "token_expired")
    options: dict[str, Any] = {"denied_retry_seconds": 1000, "observer": Observer()}
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, *"abc", **options) as way:
            await way.failures(1)
            await way.keep("d")
            async with asyncio.timeout(60):
                assert await way.relay.flush(1000) == 4, "one more try, and no more"
            assert len(history.asked) == 2
            history.usual = history.take
            assert await way.relay.flush(1000) == 0
    assert counted == [True, True]
    failed = [entry for entry in logs if entry["event"] == "delivery.failed"]
    assert [entry["next_try_seconds"] for entry in failed] == [1000, 1000]
    assert all("CHAT_HISTORY_TOKEN" in entry["what_to_do"] for entry in failed)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_pod_whose_token_is_denied_ends_at_once_and_says_that_something_is_left(
    tmp_path: Path, status: int
) -> None:
    history = History()
    history.usual = problem(status, "denied")
    settings = {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "CHAT_DATA_DIR": tmp_path / "data",
        "CHAT_DRAIN_SECONDS": 3600,  # much longer than the test may take
    }
    async with history.open() as history_url:
        with running("chat_service", tmp_path / "log", {**settings, "CHAT_HISTORY_URL": history_url}) as pod:
            async with connect(f"ws://127.0.0.1:{pod.ports['chat']}/connect?clientId=anna&timeZone=UTC") as client:
                await client.send(encode_request(Request(RequestKind.TEXT, b"hello")))
                await client.recv()
                await history.asked_times(1)
            assert await asyncio.to_thread(pod.stop) == 1
    assert len(history.asked) == 2
    assert pod.count("drain.undelivered") == 1
