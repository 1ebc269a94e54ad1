import asyncio
import os
import subprocess
import sys
import textwrap
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from chat_service.outbox import Outbox, OutboxError, OutboxFull, OutboxLocked, OutboxUnwritable
from chat_service.outbox.records import CHECKSUM_BYTES
from frameproto import Request, RequestKind
from frameproto.exchange import decode_exchange, encode_exchange
from tests.chat.outbox.parts import BIG, append, drained, files, payload
from tests.support.exchanges import exchange

LARGE = "x" * 200_000


async def texts_on_reopening(folder: Path) -> list[str]:
    outbox = Outbox.open(folder, max_bytes=BIG)
    try:
        return await drained(outbox)
    finally:
        await outbox.close()


async def test_records_come_out_in_the_order_in_which_they_went_in(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for number in range(50):
        await append(outbox, exchange(str(number)))
    assert (outbox.depth, outbox.size_bytes > 50 * 100) == (50, True)
    assert await drained(outbox, batch_bytes=3 * 4096) == [str(number) for number in range(50)]
    assert (outbox.depth, outbox.size_bytes) == (0, 0)
    await outbox.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_concurrent_appends_of_all_sizes_keep_their_order(tmp_path: Path, fsync: bool) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    texts = [f"{number}:" + "x" * (200_000 if number % 3 == 0 else 10) for number in range(30)]
    await asyncio.gather(*(append(outbox, exchange(text)) for text in texts))
    assert await drained(outbox, batch_bytes=1) == texts
    await outbox.close()


@pytest.mark.parametrize("fsync", [False, True])
async def test_callers_are_told_once_each_in_the_order_of_a_session_after_the_call(tmp_path: Path, fsync: bool) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    sessions = [uuid4(), uuid4()]
    told: dict[UUID, list[int]] = {session: [] for session in sessions}
    for number in range(20):
        session = sessions[number % 2]

        def on_kept(error: OutboxError | None, session: UUID = session, number: int = number) -> None:
            assert error is None
            told[session].append(number)

        text = "x" * (200_000 if number % 4 == 0 else 10)
        outbox.keep(exchange(text)._replace(session_id=session), on_kept)
    assert told == {session: [] for session in sessions}
    async with asyncio.timeout(60):
        while sum(map(len, told.values())) < 20:  # noqa: ASYNC110 - the callbacks are what is waited for
            await asyncio.sleep(0)
    assert told == {sessions[0]: list(range(0, 20, 2)), sessions[1]: list(range(1, 20, 2))}
    assert outbox.depth == 20
    await outbox.close()


async def test_a_caller_is_told_why_an_exchange_is_not_kept(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=5000)
    told: list[OutboxError | None] = []
    outbox.keep(exchange("a" * 6000), told.append)
    outbox.keep(exchange("b"), told.append)
    async with asyncio.timeout(60):
        while len(told) < 2:  # noqa: ASYNC110 - the callbacks are what is waited for
            await asyncio.sleep(0)
    assert [type(error) for error in told] == [OutboxFull, type(None)]
    assert await drained(outbox) == ["b"]
    await outbox.close()


async def test_what_was_not_delivered_is_there_on_reopening(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for number in range(20):
        await append(outbox, exchange(str(number)))
    batch = await outbox.peek_batch(5 * 4096)
    assert batch is not None
    await outbox.done(batch)
    taken = len(batch.records)
    await outbox.close()
    assert await texts_on_reopening(tmp_path) == [str(number) for number in range(taken, 20)]
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("after"))
    await outbox.close()
    assert await texts_on_reopening(tmp_path) == ["after"]


async def test_a_batch_that_is_not_done_is_peeked_again(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("a"))
    first, second = await outbox.peek_batch(BIG), await outbox.peek_batch(BIG)
    assert first == second
    await outbox.close()


async def test_deferred_records_are_nothing_to_wait_for(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("a"))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    await outbox.defer(batch)
    waiting = asyncio.create_task(outbox.wait_for_records())
    for _ in range(3):
        await asyncio.sleep(0)
    assert (waiting.done(), outbox.has_records) == (False, False)
    await append(outbox, exchange("b"))
    await waiting
    await outbox.close()


async def test_a_record_larger_than_a_batch_goes_alone(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in ("a", "b" * 5000, "c"):
        await append(outbox, exchange(text))
    assert await drained(outbox, batch_bytes=10) == ["a", "b" * 5000, "c"]
    await outbox.close()


async def test_a_batch_is_as_large_as_it_may_be_and_not_larger(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    two = 2 * len(encode_exchange(exchange("a")))
    for max_bytes, count in ((two - 1, 1), (two, 2), (two + 1, 2)):
        batch = await outbox.peek_batch(max_bytes)
        assert batch is not None
        assert len(batch.records) == count
    await outbox.close()


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    with pytest.raises(OutboxLocked, match="in use by another process"):
        Outbox.open(tmp_path, max_bytes=BIG)
    await outbox.close()
    await Outbox.open(tmp_path, max_bytes=BIG).close()


async def test_a_folder_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxUnwritable, match=r"file/outbox"):
        Outbox.open(tmp_path / "file" / "outbox", max_bytes=BIG)


async def test_over_its_size_it_takes_nothing_until_something_is_delivered(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=10_000)
    texts = []
    with pytest.raises(OutboxFull):
        for number in range(100):
            await append(outbox, exchange(str(number)))
            texts.append(str(number))
    assert 9_000 < outbox.size_bytes <= 10_000
    assert await drained(outbox) == texts
    await append(outbox, exchange("again"))
    assert await drained(outbox) == ["again"]
    await outbox.close()


async def test_a_large_record_that_would_be_over_its_size_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=500_000)
    await append(outbox, exchange("a" + LARGE))
    await append(outbox, exchange("b" + LARGE))
    held = outbox.size_bytes
    with pytest.raises(OutboxFull, match=f"holds {held} of 500000 bytes"):
        await append(outbox, exchange("c" + LARGE))
    assert (outbox.depth, outbox.size_bytes, len(files(tmp_path, "media"))) == (2, held, 2)
    assert await drained(outbox) == ["a" + LARGE, "b" + LARGE]
    await append(outbox, exchange("again" + LARGE))
    await outbox.close()


async def test_refused_records_are_set_aside_with_the_reason_and_block_nothing(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    await outbox.done(batch, {1: "record_field_invalid: client_id"})
    assert (outbox.depth, outbox.refused) == (0, 1)
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert outbox.refused == 1
    await outbox.close()
    (record,) = (tmp_path / "refused").glob("*.record")
    assert bytes(decode_exchange(record.read_bytes()[CHECKSUM_BYTES:]).request) == b"\x00b"
    assert "record_field_invalid: client_id" in record.with_suffix(".reason").read_text()


async def test_the_age_of_the_oldest_is_known(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    outbox = Outbox.open(tmp_path, max_bytes=BIG, now=lambda: moment)
    assert outbox.oldest_age_seconds == 0
    await append(outbox, exchange("a"))
    moment += timedelta(seconds=60)
    await append(outbox, exchange("b"))
    moment += timedelta(seconds=5)
    assert outbox.oldest_age_seconds == pytest.approx(65)
    batch = await outbox.peek_batch(1)
    assert batch is not None
    await outbox.done(batch)
    assert outbox.oldest_age_seconds == pytest.approx(5)
    await outbox.close()


@pytest.mark.parametrize("text", ["a", LARGE], ids=["in the log", "in a file"])
async def test_the_age_of_the_oldest_is_known_wherever_it_is(tmp_path: Path, text: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    outbox = Outbox.open(tmp_path, max_bytes=BIG, now=lambda: moment)
    await append(outbox, exchange(text))
    moment += timedelta(seconds=60)
    await append(outbox, exchange("b"))
    await outbox.close()
    moment += timedelta(seconds=5)
    outbox = Outbox.open(tmp_path, max_bytes=BIG, now=lambda: moment)
    ages = [outbox.oldest_age_seconds]
    batch = await outbox.peek_batch(BIG, 1)
    ages.append(outbox.oldest_age_seconds)
    assert batch is not None
    await outbox.defer(batch)
    ages.append(outbox.oldest_age_seconds)
    assert await drained(outbox) == ["b"]
    ages.append(outbox.oldest_age_seconds)
    assert ages == [pytest.approx(65)] * 4
    again = await outbox.peek_deferred()
    assert again is not None
    await outbox.done(again)
    assert outbox.oldest_age_seconds == 0
    await outbox.close()


async def test_refusing_again_after_the_queue_was_empty_overwrites_nothing(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in ("a", "b"):
        await append(outbox, exchange(text))
        batch = await outbox.peek_batch(BIG)
        assert batch is not None
        await outbox.done(batch, {0: "no"})
        await outbox.close()
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await outbox.close()
    assert len(list((tmp_path / "refused").glob("*.record"))) == 2


async def test_large_records_have_files_of_their_own_and_their_media_go_with_them(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    asked = exchange("a" + LARGE)
    for one in (exchange("small"), asked, exchange("b" + LARGE)):
        await append(outbox, one)
    assert [file.name for file in files(tmp_path, "media")] == [file.name for file in files(tmp_path)]
    assert max(file.stat().st_size for file in files(tmp_path)) < 400
    spooled = sum(file.stat().st_blocks * 512 for kind in ("waiting", "media") for file in files(tmp_path, kind))
    assert spooled + sum(file.stat().st_size for file in files(tmp_path, "log")) == outbox.size_bytes
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    assert payload(batch.records[1]) == encode_exchange(asked)
    assert [len(payload(record)) for record in batch.records] == [record.size_bytes for record in batch.records]
    await outbox.done(batch, {2: "no"})
    assert files(tmp_path) == []
    (left,) = files(tmp_path, "media")  # of the record that was refused
    assert (tmp_path / "refused" / left.name).exists()
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.size_bytes, outbox.refused, files(tmp_path, "media")) == (0, 0, 1, [left])
    await outbox.close()


async def test_a_refused_record_is_delivered_when_it_is_moved_back(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange(LARGE))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    await outbox.done(batch, {0: "no"})
    await outbox.close()
    (record,) = (tmp_path / "refused").glob("*.record")
    record.rename(tmp_path / "waiting" / record.name)
    assert await texts_on_reopening(tmp_path) == [LARGE]


async def test_media_without_a_record_are_removed_on_reopening(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange(LARGE))
    await outbox.close()
    (tmp_path / "media" / "000000000002-5+7.record").write_bytes(b"1234567")
    (tmp_path / "media" / "notes.txt").write_text("mine")
    assert await texts_on_reopening(tmp_path) == [LARGE]
    assert [file.name for file in files(tmp_path, "media")] == ["notes.txt"]


async def test_a_long_backlog_of_media_takes_no_memory_to_keep_recover_and_read(tmp_path: Path) -> None:
    body, count = bytes(4_000_000), 12
    one = exchange(request=Request(RequestKind.VIDEO, body))
    tracemalloc.start()
    try:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        for _ in range(count):
            await append(outbox, one)
        await outbox.close()
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        batch = await outbox.peek_batch(BIG)
        assert batch is not None
        assert sum(len(chunk) for record in batch.records for chunk in record.read_media()) > count * len(body)
        _, peak = tracemalloc.get_traced_memory()
        await outbox.close()
    finally:
        tracemalloc.stop()
    assert peak < 1_500_000


async def test_what_is_kept_in_memory_of_a_record_that_waits_is_little(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for number in range(2000):
        await append(outbox, exchange(f"{number}" + "x" * 2000))
    await outbox.close()
    tracemalloc.start()
    try:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        held, _ = tracemalloc.get_traced_memory()
        await outbox.close()
    finally:
        tracemalloc.stop()
    assert held < 2000 * 500


async def test_records_that_were_being_written_when_the_process_died_are_gone(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange(LARGE))
    await outbox.close()
    (whole,) = files(tmp_path)
    (tmp_path / "writing" / "000000000002-5.record").write_bytes(whole.read_bytes()[:50])
    assert await texts_on_reopening(tmp_path) == [LARGE]
    assert list((tmp_path / "writing").iterdir()) == []


@pytest.mark.parametrize("damage", ["bit", "cut off", "emptied", "deleted", "unreadable"])
@pytest.mark.parametrize("what", ["waiting", "media"])
async def test_a_damaged_large_record_is_dead_lettered_and_the_others_are_delivered(
    tmp_path: Path, damage: str, what: str
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in ("a", LARGE, "c"):
        await append(outbox, exchange(text))
    await outbox.close()
    (record,) = files(tmp_path)
    victim = tmp_path / what / record.name
    data = bytearray(victim.read_bytes())
    match damage:
        case "bit":
            data[Random(7).randrange(len(data))] ^= 4
            victim.write_bytes(data)
        case "cut off":
            victim.write_bytes(data[:-1])
        case "emptied":
            victim.write_bytes(b"")
        case "unreadable":
            victim.unlink()
            victim.symlink_to("/proc/self/mem")  # answers a read with EIO, as a broken disk does
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    if damage == "deleted":
        victim.unlink()
    assert await drained(outbox) == ["a", "c"]
    assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 1)
    assert "did not keep" in (tmp_path / "refused" / record.name).with_suffix(".reason").read_text()
    await outbox.close()


@pytest.mark.parametrize("file", ["waiting/notes.txt", "media/notes.txt", "log/notes.segment", "log/²³.segment"])
async def test_files_of_others_are_left_alone(tmp_path: Path, file: str) -> None:
    await Outbox.open(tmp_path, max_bytes=BIG).close()
    stray = tmp_path / file
    stray.write_text("mine")
    assert await texts_on_reopening(tmp_path) == []
    assert stray.read_text() == "mine"


async def test_a_large_record_that_is_being_written_holds_back_its_session_and_nobody_else(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    slow = "x" * 20_000_000
    appending = asyncio.create_task(append(outbox, exchange(slow)))
    await asyncio.sleep(0)
    behind = asyncio.create_task(append(outbox, exchange("behind")))
    await append(outbox, exchange("quick", session_id=uuid4()))
    assert not appending.done()
    assert await drained(outbox) == ["quick"]
    await asyncio.gather(appending, behind)
    assert await drained(outbox) == [slow, "behind"]
    await outbox.close()


async def test_a_record_whose_file_is_gone_when_it_is_delivered_is_delivered(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange(LARGE))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    files(tmp_path)[0].unlink()
    assert not await outbox.done(batch)
    assert (outbox.depth, outbox.size_bytes, files(tmp_path, "media")) == (0, 0, [])
    await outbox.close()


async def test_a_cancelled_delivery_is_counted_all_the_same(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for pause in range(6):
        await append(outbox, exchange("a"))
        batch = await outbox.peek_batch(BIG)
        assert batch is not None
        marking = asyncio.create_task(outbox.done(batch))
        for _ in range(pause):
            await asyncio.sleep(0)
        marking.cancel()
        await asyncio.wait([marking])
        assert outbox.depth == len(await drained(outbox))
        assert (outbox.depth, outbox.size_bytes) == (0, 0)
    await outbox.close()


async def test_a_full_disk_refuses_the_record_and_keeps_the_others(tmp_path: Path, full_disk: None) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("a"))
    with pytest.raises(OutboxUnwritable):
        await append(outbox, exchange(LARGE))
    with pytest.raises(OutboxUnwritable):
        await append(outbox, exchange("b" * 100_000))
    await append(outbox, exchange("c"))
    assert (outbox.depth, outbox.size_bytes < 2 * 200) == (2, True)
    assert [files(tmp_path, kind) for kind in ("writing", "waiting", "media")] == [[], [], []]
    assert await drained(outbox) == ["a", "c"]
    await outbox.close()


async def test_a_cancelled_append_is_whole_or_nothing(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    random = Random(3)
    for number in range(40):
        appending = asyncio.create_task(append(outbox, exchange(f"{number}:" + "x" * random.choice([10, 200_000]))))
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)
        appending.cancel()
        await asyncio.wait([appending])
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    depth = outbox.depth
    texts = await drained(outbox)
    assert len(texts) == depth > 0
    assert texts == sorted(texts, key=lambda text: int(text.split(":")[0]))
    await outbox.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from chat_service.outbox import Outbox
from tests.chat.outbox.parts import BIG, append, drained, files, payload
from tests.support.exchanges import exchange

LARGE = "x" * 200_000

async def main():
    outbox = Outbox.open(Path(sys.argv[1]), max_bytes=1 << 30)
    number = 0
    while number < 100_000:
        await append(outbox, exchange(str(number) + ":" + "x" * (number % 7 * 40_000)))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        number += 1
        if number % 50 == 0:
            batch = await outbox.peek_batch(100_000)
            await outbox.done(batch)
            sys.stdout.write(f"done {len(batch.records)}\\n")
            sys.stdout.flush()

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 30, 120, 333])
async def test_killed_at_any_moment_it_has_each_record_whose_append_returned(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip() for _ in range(lines)]
        writer.kill()
        said += writer.stdout.read().split("\n")[:-1]
    appended = [int(line) for line in said if line.isdigit()]
    delivered = sum(int(line.split()[1]) for line in said if line.startswith("done"))
    left = [int(text.split(":")[0]) for text in await texts_on_reopening(tmp_path)]
    assert set(appended[delivered:]) <= set(left), "an acknowledged record is missing"
    assert left == sorted(set(left)), "in order, each once"
    assert left[-1] <= appended[-1] + 1


async def test_an_outbox_into_which_a_record_is_being_written_is_not_empty(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    appending = asyncio.create_task(append(outbox, exchange("a")))
    await asyncio.sleep(0)
    emptied = asyncio.create_task(outbox.wait_until_empty())
    await appending
    assert not emptied.done()
    assert await drained(outbox) == ["a"]
    await emptied
    await outbox.close()
