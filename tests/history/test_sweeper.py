"""What is swept, and above all what is not."""

import asyncio
import os
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from frameproto.exchange import Exchange
from history_service.blobs.base import BlobsUnavailable
from history_service.bucket_claim import BucketClaim, Marker
from history_service.eraser import Eraser
from history_service.media_keys import MARKER
from history_service.metrics import HistoryMetrics
from history_service.sweeper import MOST_FAILURES, Sweeper, SweepLimits
from servicekit.clock import utc_now
from tests.history.pod import Pod, open_pod, rich_exchange
from tests.support.exchanges import MORNING, SESSION, exchange

DAY = timedelta(days=1)


def sweeper(
    pod: Pod,
    *,
    retention: timedelta | None = None,
    now: datetime | None = None,
    metrics: HistoryMetrics | None = None,
    **limits: Any,
) -> Sweeper:
    """A sweeper over the stores of a pod."""
    moment = now or utc_now()
    claim = BucketClaim(pod.store, pod.blobs, max_unknown_share=0.1)
    return Sweeper(
        pod.store,
        pod.blobs,
        claim,
        Eraser(pod.store, pod.blobs, claim, upload_seconds=30, now=lambda: moment),
        metrics or HistoryMetrics(),
        limits=SweepLimits(retention=retention, orphan_age=DAY, **limits),
        every=DAY,
        now=lambda: moment,
    )


def age(pod: Pod, days: float) -> None:
    """Make all media look as if they had been put there days ago."""
    then = (utc_now() - timedelta(days=days)).timestamp()
    for key in pod.files():
        os.utime(pod.folder / "media" / key, (then, then))


async def test_media_of_an_answer_that_was_replaced_are_swept(pod: Pod) -> None:
    message_id = uuid4()
    first, second, third = (rich_exchange(message_id=message_id, attempt=attempt) for attempt in (1, 2, 3))
    assert await pod.ingest(first) == ["stored"]
    assert await pod.ingest(third) == ["stored"]
    kept = {key for key in pod.files() if str(third.id) in key}
    assert (len(kept), len(pod.files())) == (3, 6)
    assert await pod.ingest(second, first) == ["superseded"] * 2
    await sweeper(pod).sweep()
    assert set(pod.files()) == kept
    assert await pod.store.erasures.pending() == []


async def lose_documents(pod: Pod, *records: Exchange) -> None:
    """Hand in, with a message store that fails once the media are there."""
    real = pod.store.exchanges.add

    async def fail(_exchanges: object) -> None:
        raise BlobsUnavailable("between media and messages")

    pod.store.exchanges.add = fail
    assert (await pod.post(*records)).status_code == 503
    pod.store.exchanges.add = real


async def test_media_whose_messages_never_came_are_swept_and_others_are_not(pod: Pod) -> None:
    kept, lost = rich_exchange(), rich_exchange()
    await pod.ingest(kept)
    await lose_documents(pod, lost)
    assert len(pod.files()) == 6
    age(pod, 2)
    await sweeper(pod).sweep()
    assert {key.split("/")[2] for key in pod.files()} == {str(kept.id)}
    assert len(pod.files()) == 3


async def test_media_that_may_still_be_waited_for_are_left(pod: Pod) -> None:
    await lose_documents(pod, rich_exchange())
    age(pod, 0.9)
    await sweeper(pod).sweep()
    assert len(pod.files()) == 3


async def test_an_orphan_among_the_media_of_a_message_is_swept_alone(pod: Pod) -> None:
    kept = rich_exchange()
    await pod.ingest(kept)
    theirs = set(pod.files())
    await pod.blobs.put(f"anna/{SESSION}/{kept.id}/reply.mp4", b"of no message", "video/mp4")
    age(pod, 2)
    await sweeper(pod).sweep()
    assert set(pod.files()) == theirs


@pytest.mark.parametrize("days", [0, 2], ids=["new", "old by the clock of the bucket"])
async def test_media_that_came_again_while_the_sweep_listed_are_left(pod: Pod, days: int) -> None:
    lost = rich_exchange()
    await lose_documents(pod, lost)
    age(pod, 2)
    real, calls = pod.store.exchanges.media_keys, 0

    async def delivered_meanwhile(*given: object) -> set[str]:
        nonlocal calls
        calls += 1
        found: set[str] = await real(*given)
        if calls == 1:
            assert await pod.ingest(lost) == ["stored"]
            age(pod, days)
        return found

    pod.store.exchanges.media_keys = delivered_meanwhile
    await sweeper(pod).sweep()
    assert calls == 2
    assert len(pod.files()) == 3


async def test_what_a_deletion_left_is_swept(pod: Pod) -> None:
    kept = rich_exchange()
    await pod.ingest(kept)
    await sweeper(pod).sweep()
    real = pod.blobs._real.delete  # type: ignore[union-attr]

    async def fail(_key: str) -> None:
        raise BlobsUnavailable("in the middle")

    pod.blobs._real.delete = fail  # type: ignore[union-attr, method-assign]
    assert (await pod.http.delete(f"/v1/messages/{kept.id}.reply")).status_code == 503
    pod.blobs._real.delete = real  # type: ignore[union-attr, method-assign]
    await sweeper(pod).sweep()
    assert set(pod.files()) == {f"anna/{SESSION}/{kept.id}/request.mp4"}


async def test_what_is_not_ours_is_left(pod: Pod) -> None:
    for key in ("readme.txt", f"anna/{SESSION}/notes/a.mp3", f"anna/{SESSION}/a.mp3"):
        path = pod.folder / "media" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    age(pod, 100)
    await sweeper(pod).sweep()
    assert len(pod.files()) == 3


async def test_what_is_older_than_the_retention_goes_with_its_media(pod: Pod) -> None:
    old, young = rich_exchange(), rich_exchange(at=MORNING + DAY)
    texts = [exchange(str(number), at=MORNING + timedelta(seconds=number)) for number in range(600)]
    await pod.ingest(old, young, *texts)
    await sweeper(pod, now=MORNING + 40 * DAY).sweep()
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 1204
    await sweeper(pod, retention=timedelta(days=30), now=MORNING + 30.5 * DAY).sweep()
    page = await pod.json(f"/v1/sessions/{SESSION}/messages")
    assert [message["exchange_id"] for message in page["messages"]] == [str(young.id)] * 2
    assert {key.split("/")[2] for key in pod.files()} == {str(young.id)}


async def test_media_that_were_stored_again_while_the_sweep_looked_are_left_though_their_messages_are_not_there_yet(
    pod: Pod,
) -> None:
    lost = rich_exchange()
    await lose_documents(pod, lost)
    age(pod, 2)
    real, calls = pod.store.exchanges.media_keys, 0

    async def stored_meanwhile(*given: object) -> set[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await lose_documents(pod, lost)  # its messages would come in a moment
        answer: set[Any] = await real(*given)
        return answer

    pod.store.exchanges.media_keys = stored_meanwhile
    await sweeper(pod).sweep()
    assert calls == 2
    assert len(pod.files()) == 3


def lose_messages(pod: Pod) -> None:
    """Lose the messages of a database, though not its sessions."""
    with sqlite3.connect(pod.folder / "messages.sqlite") as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM exchanges")
    connection.close()


async def test_a_sweep_that_finds_too_many_orphans_deletes_none_and_says_so(
    pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    await pod.ingest(*(rich_exchange() for _ in range(8)))
    lose_messages(pod)
    age(pod, 2)
    metrics = HistoryMetrics()
    await sweeper(pod, metrics=metrics).sweep()
    assert len(pod.files()) == 24
    assert metrics.registry.get_sample_value("chatbot_history_sweep_blocked", {"reason": "orphan_share"}) == 1
    assert metrics.registry.get_sample_value("chatbot_history_orphaned_media") == 24
    await sweeper(pod, metrics=metrics, max_orphan_share=1).sweep()
    assert pod.files() == {}
    assert metrics.registry.get_sample_value("chatbot_history_sweep_blocked", {"reason": "orphan_share"}) is None


async def test_few_orphans_are_swept_whatever_their_share_and_many_if_their_share_is_small(pod: Pod) -> None:
    kept = [rich_exchange() for _ in range(9)]
    await pod.ingest(*kept)
    await lose_documents(pod, rich_exchange())
    age(pod, 2)
    await sweeper(pod, free_orphans=2, max_orphan_share=0.09).sweep()
    assert len(pod.files()) == 30
    await sweeper(pod, free_orphans=2, max_orphan_share=0.1).sweep()
    assert len(pod.files()) == 27
    await lose_documents(pod, rich_exchange())
    age(pod, 2)
    await sweeper(pod, free_orphans=3, max_orphan_share=0).sweep()
    assert {key.split("/")[2] for key in pod.files()} == {str(each.id) for each in kept}


@pytest.mark.parametrize(("orphans", "seen"), [("off", 0), ("dry-run", 3)])
async def test_orphans_are_left_where_the_settings_say_so(pod: Pod, orphans: str, seen: int) -> None:
    await lose_documents(pod, rich_exchange())
    age(pod, 2)
    metrics = HistoryMetrics()
    await sweeper(pod, metrics=metrics, orphans=orphans).sweep()
    assert len(pod.files()) == 3
    assert metrics.registry.get_sample_value("chatbot_history_orphaned_media") == seen


async def test_media_of_sessions_that_were_never_here_are_left_and_counted(pod: Pod, tmp_path: Path) -> None:
    async with open_pod(tmp_path / "other") as other:
        await other.ingest(rich_exchange(session_id=uuid4()))
        shutil.copytree(other.folder / "media" / "anna", pod.folder / "media" / "anna", dirs_exist_ok=True)
    await pod.ingest(rich_exchange())
    age(pod, 2)
    metrics = HistoryMetrics()
    await sweeper(pod, metrics=metrics, max_orphan_share=1).sweep()
    assert len(pod.files()) == 6
    assert metrics.registry.get_sample_value("chatbot_history_unknown_media") == 3


async def test_media_that_are_being_stored_again_are_left(pod: Pod) -> None:
    lost = rich_exchange()
    await lose_documents(pod, lost)
    age(pod, 2)
    swept = asyncio.Event()
    began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    real = pod.blobs._real.put  # type: ignore[union-attr]

    async def put_slowly(*given: Any) -> None:
        if not began.done():
            began.set_result(None)
        await swept.wait()
        await real(*given)

    pod.blobs._real.put = put_slowly  # type: ignore[union-attr, method-assign]
    delivery = asyncio.create_task(pod.ingest(lost))
    await began
    pod.blobs._real.put = real  # type: ignore[union-attr, method-assign]
    await sweeper(pod).sweep()
    left = pod.files()
    swept.set()
    assert await delivery == ["stored"]
    assert len(left) == len(pod.files()) == 3


@pytest.mark.parametrize("locked", [1, 10])
async def test_an_orphan_that_cannot_be_deleted_holds_up_no_other_but_many_are_a_store_that_fails(
    pod: Pod, locked: int
) -> None:
    records = [rich_exchange() for _ in range(12)]
    await lose_documents(pod, *records)
    age(pod, 2)
    real = pod.blobs._real.delete  # type: ignore[union-attr]
    stay = {str(record.id) for record in records[:locked]}

    async def delete(key: str) -> None:
        if key.split("/")[2] in stay:
            raise BlobsUnavailable("this object is locked")
        await real(key)

    pod.blobs._real.delete = delete  # type: ignore[union-attr, method-assign]
    sweep = sweeper(pod, free_orphans=100).sweep()
    if locked < MOST_FAILURES:
        await sweep
        assert {key.split("/")[2] for key in pod.files()} == stay
    else:
        with pytest.raises(BlobsUnavailable, match="locked"):
            await sweep
        assert {key.split("/")[2] for key in pod.files()} >= stay


async def test_a_bucket_that_changes_its_owner_during_a_sweep_is_left(pod: Pod) -> None:
    await lose_documents(pod, rich_exchange())
    age(pod, 2)
    real = pod.store.sessions.known

    async def adopted_meanwhile(*given: object) -> set[UUID]:
        await pod.blobs.put(MARKER, Marker(uuid4(), uuid4()).encode(), "application/json")
        answer: set[Any] = await real(*given)
        return answer

    pod.store.sessions.known = adopted_meanwhile
    metrics = HistoryMetrics()
    await sweeper(pod, metrics=metrics).sweep()
    assert len(pod.files()) == 3
    assert metrics.registry.get_sample_value("chatbot_history_sweep_blocked", {"reason": "foreign"}) == 1


async def test_a_pod_sweeps_by_itself_and_outlives_a_store_that_fails(tmp_path: Path) -> None:
    today = MORNING
    async with open_pod(tmp_path / "data", retention_days=1, sweep_seconds=0.05, now=lambda: today) as pod:
        await pod.ingest(rich_exchange())
        pod.blobs.failure = BlobsUnavailable
        async with asyncio.timeout(60):
            while pod.blobs.failures < 3:  # noqa: ASYNC110 - it is the sweep's turn
                await asyncio.sleep(0.01)
        today += 3 * DAY
        pod.blobs.failure = None
        async with asyncio.timeout(60):
            while await pod.metric('chatbot_history_swept_total{what="exchanges"}') < 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await pod.json("/v1/clients/anna/sessions"))["sessions"] == []
        assert pod.files() == {}


async def test_a_pod_tells_at_once_that_its_media_are_those_of_another_database(tmp_path: Path) -> None:
    for name in ("first", "second"):
        async with open_pod(tmp_path / name) as pod:
            await pod.ingest(rich_exchange(session_id=uuid4()))
    shutil.rmtree(tmp_path / "second" / "media")
    (tmp_path / "first" / "media").rename(tmp_path / "second" / "media")
    async with open_pod(tmp_path / "second") as pod, asyncio.timeout(60):
        while await pod.metric('chatbot_history_sweep_blocked{reason="foreign"}') < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("every", [0.01])
async def test_a_pod_that_ends_ends_its_sweep(tmp_path: Path, every: float) -> None:
    async with open_pod(tmp_path / "data", sweep_seconds=every):
        assert any(task.get_name() == "sweep" for task in asyncio.all_tasks())
    assert not any(task.get_name() == "sweep" for task in asyncio.all_tasks())


async def test_a_clock_that_is_years_ahead_deletes_nothing(pod: Pod) -> None:
    await pod.ingest(*(rich_exchange(at=MORNING + timedelta(minutes=n)) for n in range(4)))
    metrics, years = HistoryMetrics(), MORNING + 3650 * DAY
    limits: dict[str, Any] = {"retention": 30 * DAY, "free_expired": 3, "metrics": metrics}
    await sweeper(pod, now=years, **limits).sweep()
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 8
    assert len(pod.files()) == 12
    assert metrics.registry.get_sample_value("chatbot_history_sweep_blocked", {"reason": "expired_share"}) == 1
    await sweeper(pod, now=years, max_expired_share=1, **limits).sweep()
    assert pod.files() == {}
    assert metrics.registry.get_sample_value("chatbot_history_sweep_blocked", {"reason": "expired_share"}) is None


async def test_few_exchanges_expire_whatever_their_share_and_many_if_their_share_is_small(pod: Pod) -> None:
    at = [MORNING, MORNING + DAY, MORNING + 9 * DAY, MORNING + 9 * DAY]
    await pod.ingest(*(exchange(str(n), at=each) for n, each in enumerate(at)))
    days: dict[str, Any] = {"retention": 5 * DAY, "now": MORNING + 10 * DAY, "free_expired": 1}
    await sweeper(pod, **days, max_expired_share=0.4).sweep()
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 8
    await sweeper(pod, **days, max_expired_share=0.5).sweep()
    assert (await pod.json(f"/v1/sessions/{SESSION}"))["message_count"] == 4


async def test_erasures_that_cannot_be_finished_are_counted(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, metrics = rich_exchange(), HistoryMetrics()
    await pod.ingest(kept)

    async def fail(_key: str) -> None:
        raise BlobsUnavailable("locked")

    with monkeypatch.context() as locked:
        locked.setattr(pod.blobs, "delete", fail, raising=False)
        assert (await pod.http.delete("/v1/clients/anna")).status_code == 503
        await sweeper(pod, metrics=metrics).sweep()
        assert metrics.registry.get_sample_value("chatbot_history_unfinished_erasures") == 1
    await sweeper(pod, metrics=metrics).sweep()
    assert metrics.registry.get_sample_value("chatbot_history_unfinished_erasures") == 0
    assert pod.files() == {}
