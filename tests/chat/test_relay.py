"""The relay on its way to a real HTTP server that answers well, badly, late or not at all."""

import asyncio
import os
import tracemalloc
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from chat_service import relay
from chat_service.metrics import ChatMetrics
from chat_service.outbox import Outbox, OutboxUnwritable
from devtools.ports import free_port
from frameproto import Request, RequestKind
from frameproto.exchange import encode_batch, encode_exchange
from tests.chat.outbox.parts import append
from tests.chat.relay_parts import (
    BIG,
    Answer,
    History,
    body,
    hang,
    hang_up,
    hang_up_in_the_middle,
    on_its_way,
    outcomes,
    page,
    problem,
    until,
)
from tests.support.exchanges import exchange

LETTERS = [*"abcdefgh"]
ABYSS_200, ABYSS_503 = (page(status, "[" * 200_000, "application/json") for status in (200, 503))


def reasons(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Why exchanges were set aside, as the log tells."""
    return [entry["reason"] for entry in logs if entry["event"] == "delivery.refused"]


async def test_what_is_kept_is_delivered_in_one_batch(tmp_path: Path) -> None:
    async with on_its_way(tmp_path, History(), *LETTERS) as way:
        await way.all_gone()
        assert way.history.asked == [LETTERS]
        assert way.history.headers[0]["Content-Type"] == "application/msgpack"
        assert "Authorization" not in way.history.headers[0]
        stats = way.relay.stats
        assert (stats.delivered, stats.refused, stats.retries) == (8, 0, 0)


async def test_what_arrives_later_is_delivered_too(tmp_path: Path) -> None:
    async with on_its_way(tmp_path, History()) as way:
        for text in LETTERS:
            await way.keep(text)
            await way.all_gone()
        assert way.history.kept == LETTERS


async def test_what_comes_soon_after_a_delivery_is_delivered_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first goes at once, the next ones when the interval is over, or when a flush does not wait for it."""
    monkeypatch.setattr(relay, "BATCH_INTERVAL_SECONDS", 3600)
    async with on_its_way(tmp_path, History(), "a") as way:
        await way.all_gone()
        await way.keep(*"bc")
        await asyncio.sleep(0.05)
        await way.keep("d")
        assert way.history.asked == [["a"]]
        assert await way.relay.flush(20) == 0
        assert way.history.asked == [["a"], ["b", "c", "d"]]


async def test_a_whole_batch_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BATCH_INTERVAL_SECONDS", 3600)
    async with on_its_way(tmp_path, History(), *(letter * 600 for letter in LETTERS), batch_bytes=1000) as way:
        await until(lambda: len(way.history.asked) >= 4)
        assert all(len(texts) == 1 for texts in way.history.asked)


async def test_a_batch_of_many_small_records_is_whole_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BATCH_INTERVAL_SECONDS", 3600)
    monkeypatch.setattr(relay, "BATCH_RECORDS", 2)
    async with on_its_way(tmp_path, History(), *"abcdef") as way:
        await way.all_gone()
        assert way.history.asked == [["a", "b"], ["c", "d"], ["e", "f"]]


async def test_batches_are_as_large_as_they_may_be_and_a_larger_record_goes_alone(tmp_path: Path) -> None:
    large = "c" * 30_000
    async with on_its_way(tmp_path, History(), "a", "b", large, "d", batch_bytes=10_000) as way:
        await way.all_gone()
        assert way.history.asked == [["a", "b"], [large], ["d"]]


async def test_each_request_shows_a_token_fresh_from_its_source(tmp_path: Path) -> None:
    tokens = iter(["first", "second"])
    async with on_its_way(tmp_path, History(), "a", token=lambda: next(tokens)) as way:
        await way.all_gone()
        await way.keep("b")
        await way.all_gone()
        assert [one["Authorization"] for one in way.history.headers] == ["Bearer first", "Bearer second"]


async def test_a_duplicate_or_what_was_erased_meanwhile_is_as_good_as_stored(tmp_path: Path) -> None:
    history = History()
    history.answers.append(outcomes("duplicate", "stored", "erased"))
    async with on_its_way(tmp_path, history, *"abc") as way:
        await way.all_gone()
        assert (way.relay.stats.delivered, way.outbox.refused, len(history.asked)) == (3, 0, 1)


async def test_a_refused_exchange_is_set_aside_with_the_reason_and_holds_up_nobody(tmp_path: Path) -> None:
    history = History()
    refused = {"outcome": "refused", "code": "frame_invalid", "detail": "it has no body"}
    history.answers.append(outcomes("stored", refused, "stored"))
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, *"abc") as way:
            await way.all_gone()
            await way.keep("d")
            await way.all_gone()
            assert (way.outbox.refused, way.relay.stats.delivered, way.relay.stats.refused) == (1, 3, 1)
            assert history.asked == [["a", "b", "c"], ["d"]]
    assert reasons(logs) == ["frame_invalid: it has no body"]


async def test_when_the_disk_fails_to_note_a_delivery_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, done, failures = History(), Outbox.done, iter([True, True])

    async def twice_unwritable(outbox: Outbox, *delivered: Any) -> None:
        if next(failures, False):
            raise OutboxUnwritable("the disk is full")
        await done(outbox, *delivered)

    monkeypatch.setattr(Outbox, "done", twice_unwritable)
    async with on_its_way(tmp_path, history, "a") as way:
        await way.all_gone()
        assert (history.asked, way.relay.stats.delivered) == ([["a"]] * 3, 1)
        assert way.relay.stats.last_error == "the disk is full"


async def test_a_bug_is_told_once_with_its_traceback_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, done, bugs = History(), Outbox.done, iter([KeyError("a"), KeyError("a"), ZeroDivisionError("b")])

    async def sometimes_broken(outbox: Outbox, *delivered: Any) -> None:
        if bug := next(bugs, None):
            raise bug
        await done(outbox, *delivered)

    monkeypatch.setattr(Outbox, "done", sometimes_broken)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "a") as way:
            await way.all_gone()
            assert (history.asked, way.relay.stats.delivered) == ([["a"]] * 4, 1)
            assert (way.relay.stats.retries, way.relay.stats.last_error) == (3, "b")
    told = [entry["exc_info"] for entry in logs if entry["event"] == "delivery.bug"]
    assert [repr(bug) for bug in told] == ["KeyError('a')", "ZeroDivisionError('b')"]
    assert all(bug.__traceback__ for bug in told)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_a_batch_that_is_refused_whole_is_tried_in_smaller_ones(tmp_path: Path, status: int) -> None:
    history = History()

    async def at_most_two(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        if len(texts) > 2:
            return await problem(status, "too_much")(request, texts)
        return await history.take(request, texts)

    history.usual = at_most_two
    async with on_its_way(tmp_path, history, *LETTERS) as way:
        await way.all_gone()
        assert [len(texts) for texts in history.asked[:3]] == [8, 4, 2]
        assert (history.kept, way.outbox.refused, way.relay.stats.delivered) == (LETTERS, 0, 8)


async def test_after_a_refusal_batches_grow_again_step_by_step(tmp_path: Path) -> None:
    history = History()
    history.answers.extend([problem(413, "too_much")] * 3)
    async with on_its_way(tmp_path, history, *"abcdefghijklmnop") as way:
        await way.all_gone()
        assert [len(texts) for texts in history.asked] == [16, 8, 4, 2, 4, 8, 2]


@pytest.mark.parametrize("spoilt", ["a", "d", "h"])
async def test_the_one_exchange_that_spoils_every_batch_is_found_and_set_aside(tmp_path: Path, spoilt: str) -> None:
    history = History()

    async def not_that_one(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        if spoilt in texts:
            return await problem(422, "unreadable")(request, texts)
        return await history.take(request, texts)

    history.usual = not_that_one
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, *LETTERS) as way:
            await way.all_gone()
            assert history.kept == [text for text in LETTERS if text != spoilt]
            assert (way.outbox.refused, way.relay.stats.refused) == (1, 1)
    assert reasons(logs) == ["422 unreadable"]
    (file,) = (entry["file"] for entry in logs if entry["event"] == "delivery.refused")
    assert (tmp_path / file).exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(problem(401, "token_expired"), "401 token_expired", id="401"),
        pytest.param(problem(404, "not_found"), "404 not_found", id="404"),
        pytest.param(problem(429, "too_many", Retry_After="0"), "429 too_many", id="429"),
        pytest.param(problem(500, "internal"), "500 internal", id="500"),
        pytest.param(problem(503, "store_unavailable"), "503 store_unavailable", id="503"),
        pytest.param(page(502, "<html>bad gateway"), "502 ", id="a page of a proxy"),
        pytest.param(page(503, "null", "application/json"), "503 ", id="a problem that is null"),
        pytest.param(page(200, "<html>log in"), "ContentTypeError", id="200 with a page"),
        pytest.param(page(200, "{", "application/json"), "cannot be read", id="200 with half of an answer"),
        pytest.param(body([]), "not about 8 records", id="200 with a list"),
        pytest.param(body({"results": None}), "not about 8 records", id="200 without results"),
        pytest.param(outcomes("stored"), "not about 8 records", id="results of others"),
        pytest.param(outcomes(*["lost"] * 8), "outcome 'lost'", id="an unknown outcome"),
        pytest.param(outcomes(*[1] * 8), "outcome None", id="results that are numbers"),
        pytest.param(outcomes(*[{"outcome": ["stored"]}] * 8), "outcome [", id="an outcome that is a list"),
        pytest.param(ABYSS_200, "cannot be read", id="200 with an abyss"),
        pytest.param(ABYSS_503, "503 ", id="a problem that is an abyss"),
        pytest.param(hang_up, "ServerDisconnectedError", id="the connection breaks"),
        pytest.param(hang_up_in_the_middle, "ClientPayloadError", id="the connection breaks in the answer"),
        pytest.param(hang, "no answer in time", id="no answer"),
    ],
)
async def test_after_a_failure_the_same_batch_is_delivered_again(tmp_path: Path, answer: Answer, reason: str) -> None:
    history = History()
    history.answers.append(answer)
    async with on_its_way(tmp_path, history, *LETTERS, request_seconds=1 if answer is hang else 20) as way:
        await way.all_gone()
        assert history.asked[0] == LETTERS
        assert [text for batch in history.asked[1:] for text in batch] == LETTERS
        assert len(history.asked) == (3 if answer is hang else 2)
        assert reason in way.relay.stats.last_error
        stats = way.relay.stats
        assert (stats.delivered, stats.retries, way.outbox.refused) == (8, 1, 0)


async def test_what_takes_history_too_long_is_tried_in_smaller_batches(tmp_path: Path) -> None:
    """As large ones, tried again and again, would never be answered in time, and the backlog would only grow."""
    history = History()

    async def slow(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        return await (hang if len(texts) > 2 else history.take)(request, texts)

    history.usual = slow
    async with on_its_way(tmp_path, history, *LETTERS, request_seconds=1) as way:
        await way.all_gone()
        assert [len(texts) for texts in history.asked[:3]] == [8, 4, 2]
        assert (history.kept, way.outbox.refused) == (LETTERS, 0)


async def test_what_history_took_without_saying_so_is_delivered_again_and_kept_once(tmp_path: Path) -> None:
    history = History()

    async def take_and_hang_up(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        await history.take(request, texts)
        return await hang_up(request, texts)

    history.answers.append(take_and_hang_up)
    async with on_its_way(tmp_path, history, *"abc") as way:
        await way.all_gone()
        assert (history.kept, len(history.asked), way.relay.stats.delivered) == ([*"abc"], 2, 3)


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        pytest.param(problem(503, "busy", Retry_After="7"), 7.0, id="as long as history asks"),
        pytest.param(problem(429, "busy", Retry_After="7.5"), 7.5, id="fractions"),
        pytest.param(problem(503, "busy", Retry_After="86400"), 15.0, id="never longer than the longest"),
        pytest.param(problem(503, "busy", Retry_After="-1"), 0.5, id="negative"),
        pytest.param(problem(503, "busy", Retry_After="nan"), 0.5, id="not a number"),
        pytest.param(problem(503, "busy", Retry_After="Sun, 06 Nov 1994 08:49:37 GMT"), 0.5, id="a date"),
        pytest.param(problem(503, "busy"), 0.5, id="nothing asked"),
    ],
)
async def test_history_may_ask_for_a_pause(tmp_path: Path, answer: Answer, pause: float) -> None:
    history = History()
    history.answers.append(answer)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "a", first_retry_seconds=0.5, last_retry_seconds=15) as way:
            await way.failures(1)
            assert await way.relay.flush(10) == 0  # which does not wait for the end of a pause
    failed = [entry for entry in logs if entry["event"] == "delivery.failed"]
    assert [entry["next_try_seconds"] for entry in failed] == [pause]


async def test_pauses_double_up_to_the_longest_and_an_outage_does_not_flood_the_log(tmp_path: Path) -> None:
    history = History()
    history.answers.extend([problem(503, "busy")] * 20)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "a", first_retry_seconds=0.002, last_retry_seconds=0.02) as way:
            await way.all_gone()
    failed = [entry for entry in logs if entry["event"] == "delivery.failed"]
    assert [entry["failures"] for entry in failed] == [1, 2, 4, 8, 16]
    assert [entry["next_try_seconds"] for entry in failed] == [0.002, 0.004, 0.016, 0.02, 0.02]
    assert {entry["waiting"] for entry in failed} == {1}
    assert [entry["after_failures"] for entry in logs if entry["event"] == "delivery.works_again"] == [20]


async def test_after_a_success_pauses_begin_anew(tmp_path: Path) -> None:
    history = History()
    bad = problem(503, "busy")
    history.answers.extend([bad, bad, history.take, bad])
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "a") as way:
            await way.all_gone()
            await way.keep("b")
            await way.all_gone()
    assert [entry["failures"] for entry in logs if entry["event"] == "delivery.failed"] == [1, 2, 1]


async def test_a_history_that_is_not_there_yet_gets_everything_in_order_once_it_is(tmp_path: Path) -> None:
    history, port = History(), free_port()
    async with on_its_way(tmp_path, History(), *"ab", url=f"http://127.0.0.1:{port}/") as way:
        await way.failures(3)
        await way.keep(*"cd")
        assert "ClientConnectorError" in way.relay.stats.last_error
        async with history.open(port):
            await way.all_gone()
        assert history.kept == [*"abcd"]


async def test_a_flush_says_how_much_is_left(tmp_path: Path) -> None:
    history = History()
    history.usual = problem(503, "busy")
    async with on_its_way(tmp_path, history, *"abc") as way:
        assert await way.relay.flush(0.1) == 3
        history.usual = history.take
        assert await way.relay.flush(10) == 0
    assert sorted(history.kept) == [*"abc"]


async def test_a_relay_stopped_in_the_middle_leaves_everything_for_the_next_one(tmp_path: Path) -> None:
    history = History()
    history.answers.append(hang)
    async with on_its_way(tmp_path, history, *"abc") as way:
        await history.asked_times(1)
        await way.stop()
        assert way.outbox.depth == 3
    async with on_its_way(tmp_path, history) as way:
        await way.all_gone()
    assert history.asked == [[*"abc"], [*"abc"]]
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert outbox.depth == 0
    await outbox.close()


async def test_records_are_kept_while_a_delivery_is_on_its_way(tmp_path: Path) -> None:
    history, go_on = History(), asyncio.Event()

    async def slowly(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        await go_on.wait()
        return await history.take(request, texts)

    history.usual = slowly
    async with on_its_way(tmp_path, history, *"ab") as way:
        await history.asked_times(1)
        await way.keep(*"cd")
        go_on.set()
        await way.all_gone()
        assert history.asked == [[*"ab"], [*"cd"]]


async def test_media_are_read_from_the_disk_piece_by_piece_while_they_are_delivered(tmp_path: Path) -> None:
    taken: list[int] = []
    peaks: list[int] = []

    async def swallow(request: web.Request) -> web.StreamResponse:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        taken.append(size)
        peaks.append(tracemalloc.get_traced_memory()[1])
        assert size == request.content_length
        return web.json_response({"results": [{"outcome": "stored"}] * 10})

    history = History()
    history.post = swallow  # type: ignore[method-assign]
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for _ in range(10):
        await append(outbox, exchange(request=Request(RequestKind.VIDEO, bytes(2_000_000))))
    await outbox.close()
    tracemalloc.start()
    try:
        async with on_its_way(tmp_path, history, batch_bytes=BIG) as way:
            await way.all_gone()
    finally:
        tracemalloc.stop()
    assert taken[0] > 20_000_000
    assert max(peaks) < 8_000_000


async def test_media_arrive_byte_for_byte_among_small_records(tmp_path: Path) -> None:
    history = History()
    texts = ["a", "b" * 70_000, "c", "d" * 300_000, "e" * 600_000, "f"]
    async with on_its_way(tmp_path, history, *texts) as way:
        await way.all_gone()
        assert history.asked == [texts]


async def test_media_that_are_damaged_while_they_are_sent_spoil_no_other(tmp_path: Path) -> None:
    history = History()
    large = "b" * 3_000_000

    async def cut_short(request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        (media,) = (tmp_path / "media").iterdir()
        os.truncate(media, 1_000_000)
        return await problem(503, "busy")(request, texts)

    history.answers.append(cut_short)
    with capture_logs() as logs:
        async with on_its_way(tmp_path, history, "a", large, "c") as way:
            await way.all_gone()
            assert history.kept == ["a", "c"]
            assert way.outbox.refused == 1
    (file,) = [entry["file"] for entry in logs if entry["event"] == "outbox.damaged"]
    assert (tmp_path / file).exists()


async def test_after_an_outage_a_backlog_is_delivered_in_full_batches_without_pauses_and_in_order(
    tmp_path: Path,
) -> None:
    history = History()
    history.usual = problem(503, "store_unavailable")
    texts = [f"{number}:" + "x" * (80_000 if number % 100 == 0 else 10) for number in range(600)]
    async with on_its_way(tmp_path, history, *texts[:300], batch_bytes=1_000_000, max_failures=1000) as way:
        await way.failures(3)
        await way.keep(*texts[300:])
        tried = len(history.asked)
        history.usual = history.take
        await way.all_gone()
        assert history.kept == texts
        assert way.relay.stats.retries <= tried
        sizes = [len(batch) for batch in history.asked[tried:]]
        assert len(sizes) <= 5, "as few as there is room for"


async def test_deliveries_are_counted_and_timed(tmp_path: Path) -> None:
    metrics, history = ChatMetrics(), History()
    history.answers.extend([problem(503, "busy"), outcomes("stored", {"outcome": "refused", "code": "x"}, "duplicate")])
    async with on_its_way(tmp_path, history, *"abc", observer=metrics.delivery) as way:
        await way.all_gone()
    lines = dict(line.rsplit(" ", 1) for line in generate_latest(metrics.registry).decode().splitlines())
    assert float(lines['chatbot_delivery_exchanges_total{outcome="delivered"}']) == 2
    assert float(lines['chatbot_delivery_exchanges_total{outcome="refused"}']) == 1
    assert float(lines["chatbot_delivery_retries_total"]) == 1
    assert float(lines["chatbot_delivery_seconds_count"]) == 1
    assert float(lines["chatbot_delivery_bytes_total"]) == len(encode_batch([encode_exchange(exchange("a"))] * 3))
