"""The log of the outbox: segments, what is in memory of them, and what becomes of damaged ones."""

import asyncio
import errno
import os
import shutil
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from chat_service.outbox import Outbox, OutboxError, OutboxUnwritable, RecordName
from chat_service.outbox.records import HEADER_BYTES, pack_header
from chat_service.outbox.segment_reader import SCAN_BYTES
from frameproto.exchange import Exchange, encode_exchange
from tests.chat.outbox.parts import BIG, append, drained, files, text_of
from tests.support.exchanges import exchange

LARGE = "x" * 200_000
KIB = 1024


async def left_behind(folder: Path, *texts: str) -> Path:
    """Keep these in one segment, as a process that was killed leaves it, and return the segment."""
    outbox = Outbox.open(folder, max_bytes=BIG)
    for text in texts:
        await append(outbox, exchange(text))
    await outbox.close()
    return files(folder, "log")[-1]


async def kept_in_one_turn(outbox: Outbox, *texts: str) -> None:
    async with asyncio.TaskGroup() as appends:
        for text in texts:
            appends.create_task(append(outbox, exchange(text)))


def counted(calls: list[str], name: str, real: Callable[..., object]) -> Callable[..., object]:
    def call(*args: object, **options: object) -> object:
        calls.append(name)
        return real(*args, **options)

    return call


@pytest.mark.parametrize("fsync", [False, True])
async def test_all_that_is_kept_in_one_turn_is_one_write_and_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    await append(outbox, exchange("before"))
    calls: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("pwrite", "write", "fdatasync", "fsync", "open", "rename"):
            patch.setattr(os, name, counted(calls, name, getattr(os, name)))
        texts = [str(number) for number in range(50)]
        await kept_in_one_turn(outbox, *texts)
    assert calls == (["pwrite", "fdatasync"] if fsync else ["pwrite"])
    assert await drained(outbox) == ["before", *texts]
    await outbox.close()


async def test_with_fsync_files_and_their_names_are_synced_before_the_caller_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    synced: list[str] = []

    def sync(real: Callable[[int], None], file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().relative_to(tmp_path).parts[0])
        real(file)

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, partial(sync, getattr(os, name)))
    await append(outbox, exchange("small"))
    assert synced == ["log", "log"]  # the folder with the new name, and the segment
    synced.clear()
    await append(outbox, exchange(LARGE))
    assert synced == ["media", "media", "writing", "waiting"]  # a file and its folder, then a file and its last folder
    await outbox.close()


def open_files(folder: Path) -> list[Path]:
    """Return which files in a folder this process has open."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link for link in links if link.is_relative_to(folder)]


@pytest.mark.parametrize("fsync", [False, True])
async def test_a_closed_outbox_has_no_file_open(tmp_path: Path, fsync: bool) -> None:
    for _ in range(2):
        outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
        assert open_files(tmp_path) == [tmp_path / "lock"]
        for text in ("a", LARGE):
            await append(outbox, exchange(text))
        assert len(open_files(tmp_path)) == 2, "the lock and the active segment"
        await outbox.close()
        assert open_files(tmp_path) == []
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    assert await drained(outbox) == ["a", LARGE] * 2
    await outbox.close()
    assert open_files(tmp_path) == []


async def test_what_is_kept_while_a_sync_goes_on_is_one_more_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    syncs: list[int] = []
    real = os.fdatasync

    def sync(file: int) -> None:
        syncs.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    first = asyncio.create_task(append(outbox, exchange("first")))
    while not syncs:  # noqa: ASYNC110 - a thread tells nobody
        await asyncio.sleep(0)
    later = [asyncio.create_task(append(outbox, exchange(str(number)))) for number in range(20)]
    await asyncio.gather(first, *later)
    assert len(syncs) <= 3
    assert await drained(outbox) == ["first", *(str(number) for number in range(20))]
    await outbox.close()


async def test_what_is_delivered_at_once_is_never_read_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    monkeypatch.setattr(os, "pread", None)
    for number in range(50):
        await kept_in_one_turn(outbox, str(number), f"{number} again")
        assert await drained(outbox) == [str(number), f"{number} again"]
        assert outbox.size_bytes == 0
    await outbox.close()
    assert files(tmp_path, "log") == []


async def test_delivered_segments_are_removed_while_others_wait(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    texts = [f"{number}:" + "x" * 50 * KIB for number in range(100)]
    for text in texts:
        await append(outbox, exchange(text))
    before, size_bytes = len(files(tmp_path, "log")), outbox.size_bytes
    assert before >= 5
    assert size_bytes == sum(file.stat().st_size for file in files(tmp_path, "log"))
    delivered: list[str] = []
    while len(delivered) < 60:
        batch = await outbox.peek_batch(200 * KIB)
        assert batch is not None
        delivered += [text_of(record) for record in batch.records]
        await outbox.done(batch)
    assert len(files(tmp_path, "log")) <= before // 2 + 1
    assert outbox.size_bytes == sum(file.stat().st_size for file in files(tmp_path, "log"))
    assert delivered + await drained(outbox) == texts
    assert outbox.size_bytes == 0
    await outbox.close()
    assert files(tmp_path, "log") == []


async def test_a_record_that_the_disk_takes_in_pieces_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_pwrite, real_write = os.pwrite, os.write
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real_pwrite(file, data[:100], at))
    monkeypatch.setattr(os, "write", lambda file, data: real_write(file, data[:50_000]))
    texts = ["a" * 500, LARGE, "b" * 500]
    await left_behind(tmp_path, *texts)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await drained(outbox) == texts
    assert outbox.refused == 0
    await outbox.close()


async def test_a_backlog_takes_little_memory_while_it_grows_and_comes_in_order(tmp_path: Path) -> None:
    """Beyond a few MiB, records are read again from disk, large ones and small ones in the order of the calls."""
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    count = 3000
    texts = [f"{number}:" + "x" * (200_000 if number % 500 == 499 else 6000) for number in range(count)]
    tracemalloc.start()
    try:
        for text in texts:
            await append(outbox, exchange(text))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 6 * KIB * KIB
    assert outbox.depth == count
    assert await drained(outbox, batch_bytes=400 * KIB) == texts
    assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 0)
    await outbox.close()


async def test_records_are_kept_while_a_backlog_is_delivered(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    texts = [f"{number}:" + "x" * 10_000 for number in range(1000)]
    for text in texts:
        await append(outbox, exchange(text))
    delivered: list[str] = []
    while (batch := await outbox.peek_batch(150_000)) is not None:
        delivered += [text_of(record) for record in batch.records]
        if len(texts) < 1500:
            await kept_in_one_turn(outbox, *(new := [f"new {len(texts)}", f"new {len(texts) + 1}"]))
            texts += new
        await outbox.done(batch)
    assert delivered == texts
    assert outbox.size_bytes == 0
    await outbox.close()


async def test_after_a_crash_what_was_delivered_of_a_segment_comes_again_and_nothing_else(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "one", max_bytes=BIG)
    for text in ("a", "b", LARGE, "c"):
        await append(outbox, exchange(text))
    batch = await outbox.peek_batch(BIG, 3)
    assert batch is not None
    await outbox.done(batch)
    shutil.copytree(tmp_path / "one", tmp_path / "crashed")
    await outbox.close()
    outbox = Outbox.open(tmp_path / "crashed", max_bytes=BIG)
    assert await drained(outbox) == ["a", "b", "c"]
    await outbox.close()


async def test_a_record_that_was_refused_is_not_delivered_again_after_a_crash(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "one", max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    batch = await outbox.peek_batch(BIG, 2)
    assert batch is not None
    await outbox.done(batch, {0: "no"})
    shutil.copytree(tmp_path / "one", tmp_path / "crashed")
    await outbox.close()
    outbox = Outbox.open(tmp_path / "crashed", max_bytes=BIG)
    assert (outbox.depth, outbox.refused) == (2, 1)
    assert await drained(outbox) == ["b", "c"]
    await outbox.close()


async def test_a_deferred_record_keeps_no_segment_and_is_delivered_once_after_a_crash(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "one", max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    batch = await outbox.peek_batch(BIG, 1)
    assert batch is not None
    await outbox.defer(batch)
    shutil.copytree(tmp_path / "one", tmp_path / "crashed")
    assert await drained(outbox) == ["b", "c"]
    assert files(tmp_path / "one", "log")[0].stat().st_size == 0
    (waiting,) = files(tmp_path / "one")
    assert outbox.size_bytes == 4096
    again = await outbox.peek_deferred()
    assert again is not None
    assert [text_of(record) for record in again.records] == ["a"]
    await outbox.done(again)
    assert (outbox.depth, outbox.size_bytes, waiting.exists()) == (0, 0, False)
    await outbox.close()
    outbox = Outbox.open(tmp_path / "crashed", max_bytes=BIG)
    assert outbox.depth == 3
    assert await drained(outbox) == [*"abc"]
    await outbox.close()


async def test_a_segment_is_removed_as_soon_as_all_of_its_records_are_deferred(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text * 100 * KIB))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    await outbox.defer(batch)
    assert (outbox.depth, outbox.deferred, files(tmp_path, "log")) == (3, 3, [])
    assert outbox.size_bytes == sum(file.stat().st_blocks * 512 for file in files(tmp_path))
    await outbox.close()


@pytest.mark.parametrize("left", [*range(1, 40), 100, 200])
async def test_a_torn_record_at_the_end_is_cut_off_wherever_it_ends(tmp_path: Path, left: int) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:left] if left < len(whole) // 2 else whole[: len(whole) // 2 + left // 10])
    with capture_logs() as logs:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert [entry["event"] for entry in logs if "torn" in entry["event"]] == ["outbox.torn"]
    assert segment.stat().st_size in {len(whole), len(whole) // 2}
    await append(outbox, exchange("c"))
    assert (await drained(outbox))[-1] == "c"
    assert outbox.refused == 0
    await outbox.close()
    assert [files(tmp_path, kind) for kind in ("log", "refused")] == [[], []]


@pytest.mark.parametrize("more", [0, 1])
async def test_bytes_at_the_end_that_begin_no_record_are_damage_and_not_cut_off(tmp_path: Path, more: int) -> None:
    segment = await left_behind(tmp_path, "a")
    whole = segment.read_bytes()
    segment.write_bytes(whole + bytes(HEADER_BYTES + more))
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.refused) == (1, 1)
    assert await drained(outbox) == ["a"]
    await outbox.close()
    assert (tmp_path / "refused" / segment.name).read_bytes() == whole + bytes(HEADER_BYTES + more)


async def test_whichever_bit_is_damaged_all_other_records_before_it_are_delivered_and_the_loss_is_told(
    tmp_path: Path,
) -> None:
    """A damaged body is one lost record. Behind a damaged header nothing tells where the next record begins."""
    segment = await left_behind(tmp_path / "one", "a", "b", "c")
    (tmp_path / "one" / "log" / "000000000099.segment").write_bytes(
        pack_header(RecordName(99, 1), encode_exchange(last := exchange("last"))) + encode_exchange(last)
    )
    whole = segment.read_bytes()
    body_bytes = len(whole) // 3 - HEADER_BYTES
    for at in range(0, len(whole), 7):
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "one", folder)
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        (folder / "log" / segment.name).write_bytes(data)
        with capture_logs() as logs:
            outbox = Outbox.open(folder, max_bytes=BIG)
            texts = await drained(outbox)
        number, offset = divmod(at, HEADER_BYTES + body_bytes)
        expected = [*"abc"[:number], *([] if offset < HEADER_BYTES else "abc"[number + 1 :]), "last"]
        assert texts == expected, at
        assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 1), at
        await outbox.close()
        (told,) = [entry for entry in logs if entry["event"] == "outbox.damaged"]
        assert told["file"] == f"log/{segment.name}"
        aside = folder / "refused" / segment.name
        assert aside.read_bytes() == data
        assert aside.with_suffix(".reason").read_text() == f"{told['reason']}\n"
        assert files(folder, "log") == []
        outbox = Outbox.open(folder, max_bytes=BIG)
        assert outbox.refused == 1
        await outbox.close()


async def test_a_segment_that_is_not_the_last_one_and_ends_too_early_is_damaged(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    await left_behind(tmp_path, "c")
    os.truncate(segment, segment.stat().st_size - 1)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.refused) == (2, 1)
    assert await drained(outbox) == ["a", "c"]
    await outbox.close()
    assert [file.name for file in files(tmp_path, "refused")] == [segment.stem + ".reason", segment.name]


async def test_all_of_a_long_segment_is_found_at_the_start(tmp_path: Path) -> None:
    """What is kept in one turn goes to one segment, which is then longer than what is read of it at once."""
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    texts = [f"{number}:" + "x" * 100 * KIB for number in range(25)]
    await kept_in_one_turn(outbox, *texts)
    await outbox.close()
    (segment,) = files(tmp_path, "log")
    assert segment.stat().st_size > 2 * SCAN_BYTES
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.refused) == (len(texts), 0)
    assert await drained(outbox) == texts
    await outbox.close()


async def test_all_headers_are_found_however_much_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = await left_behind(tmp_path, *"abc")
    record_bytes = segment.stat().st_size // 3
    second_header_at_end = record_bytes + HEADER_BYTES
    for scan_bytes in (HEADER_BYTES, *(second_header_at_end + more for more in (-1, 0, 1)), 2 * record_bytes):
        monkeypatch.setattr("chat_service.outbox.segment_reader.SCAN_BYTES", scan_bytes)
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        assert (outbox.depth, outbox.refused) == (3, 0), scan_bytes
        await outbox.close()


@pytest.mark.parametrize("how", ["gone", "EIO", "cut", "zeros"])
async def test_a_segment_that_is_lost_after_the_start_loses_no_other(tmp_path: Path, how: str) -> None:
    first = await left_behind(tmp_path, "a", "b")
    await left_behind(tmp_path, "c")
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    match how:
        case "gone":
            first.unlink()
        case "EIO":
            first.unlink()
            first.symlink_to("/proc/self/mem")
        case "cut":
            os.truncate(first, 3)
        case "zeros":
            first.write_bytes(bytes(first.stat().st_size))
    with capture_logs() as logs:
        assert await drained(outbox) == ["c"]
    assert [entry["event"] for entry in logs] == ["outbox.damaged"]
    assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 2)
    await outbox.close()


@pytest.mark.parametrize("how", ["folder gone", "file gone", "another file"])
async def test_what_is_taken_away_from_a_running_process_is_noticed_and_memory_still_has_the_next_records(
    tmp_path: Path, how: str
) -> None:
    outbox = Outbox.open(tmp_path / "outbox", max_bytes=BIG)
    await append(outbox, exchange("a"))
    (segment,) = files(tmp_path / "outbox", "log")
    if how == "folder gone":
        shutil.rmtree(tmp_path / "outbox")
        with pytest.raises(OutboxUnwritable, match="No such file"):
            await append(outbox, exchange("b"))
        assert await drained(outbox) == ["a"]
    else:
        segment.unlink()
        if how == "another file":
            segment.write_bytes(b"")
        await append(outbox, exchange("b"))
        assert len(files(tmp_path / "outbox", "log")) == 1 + (how == "another file")
        assert await drained(outbox) == ["a", "b"]
    assert (outbox.depth, outbox.refused) == (0, 0)
    await outbox.close()


async def test_bytes_of_a_client_that_look_like_a_record_are_never_taken_for_one(tmp_path: Path) -> None:
    forged = pack_header(RecordName(7, 1), encode_exchange(exchange("forged"))) + encode_exchange(exchange("forged"))
    asked = exchange("a")._replace(request=b"\x00" + forged * 20)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for one in (asked, exchange("b")):
        await append(outbox, one)
    await outbox.close()
    (segment,) = files(tmp_path, "log")
    data = bytearray(segment.read_bytes())
    data[3] ^= 1  # the header of the record with the forged ones
    segment.write_bytes(data)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await drained(outbox) == []
    assert outbox.refused == 1
    await outbox.close()


async def test_a_backlog_of_the_old_form_is_delivered_before_what_is_new(tmp_path: Path) -> None:
    """Until the log was added, every record had a file of its own."""
    (tmp_path / "waiting").mkdir()
    for number, text in enumerate(["old", "older than the log"], 41):
        body = encode_exchange(exchange(text))
        name = f"{number:012}-1795488724638.record"
        (tmp_path / "waiting" / name).write_bytes(zlib.crc32(body).to_bytes(4, "big") + body)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert outbox.depth == 2
    await append(outbox, exchange("new"))
    assert files(tmp_path, "log")[0].name == "000000000043.segment"
    assert await drained(outbox) == ["old", "older than the log", "new"]
    await outbox.close()
    assert files(tmp_path) == []


async def test_an_unreadable_segment_at_the_start_is_delivered_when_it_can_be_read(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    await left_behind(tmp_path, "c")
    segment.rename(tmp_path / "moved")
    segment.mkdir()
    written = segment.stat().st_mtime
    with capture_logs() as logs:
        outbox = Outbox.open(
            tmp_path, max_bytes=BIG, now=lambda: datetime.fromtimestamp(written, UTC) + timedelta(seconds=60)
        )
    assert [entry["file"] for entry in logs if entry["event"] == "outbox.unreadable"] == [f"log/{segment.name}"]
    assert (outbox.depth, outbox.deferred) == (2, 1)
    assert await drained(outbox) == ["c"]
    assert outbox.oldest_age_seconds == pytest.approx(60, abs=0.01)  # since the file was written
    for _ in range(3):
        with pytest.raises(OutboxError, match=f"log/{segment.name} cannot be read: Is a directory"):
            await outbox.peek_deferred()
    segment.rmdir()
    (tmp_path / "moved").rename(segment)
    assert await outbox.peek_deferred() is None
    assert (outbox.depth, outbox.deferred) == (2, 0)
    assert await drained(outbox) == ["a", "b"]
    assert (outbox.depth, outbox.size_bytes) == (0, 0)
    await outbox.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
async def test_when_the_process_has_run_out_of_something_no_file_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    await left_behind(tmp_path, "a")
    outbox = Outbox.open(tmp_path, max_bytes=BIG)

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(OutboxUnwritable, match=os.strerror(code)):
            await outbox.peek_batch(BIG)
    assert (outbox.depth, outbox.deferred) == (1, 0)
    assert await drained(outbox) == ["a"]
    await outbox.close()


async def test_a_segment_that_cannot_be_read_for_a_while_is_deferred_as_a_whole(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    await left_behind(tmp_path, "c")
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    size_bytes = outbox.size_bytes
    segment.rename(tmp_path / "moved")
    segment.mkdir()
    with capture_logs() as logs:
        assert await drained(outbox) == ["c"]
    assert [(entry["event"], entry["file"]) for entry in logs] == [("outbox.unreadable", f"log/{segment.name}")]
    assert (outbox.depth, outbox.deferred, outbox.deferred_entries) == (2, 2, 1)
    with pytest.raises(OutboxError, match=f"log/{segment.name} cannot be read: Is a directory"):
        await outbox.peek_deferred()
    waiting = asyncio.create_task(outbox.wait_for_records())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    segment.rmdir()
    (tmp_path / "moved").rename(segment)
    assert await outbox.peek_deferred() is None
    async with asyncio.timeout(20):
        await waiting
    assert (outbox.depth, outbox.deferred) == (2, 0)
    assert 0 < outbox.size_bytes < size_bytes
    assert await drained(outbox) == ["a", "b"]
    assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 0)
    await outbox.close()


async def test_a_segment_of_which_not_even_the_time_can_be_read_has_no_age(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a")
    segment.rename(tmp_path / "moved")
    segment.symlink_to(tmp_path / "nothing")
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.deferred, outbox.oldest_age_seconds) == (1, 1, 0)
    (tmp_path / "moved").rename(segment)
    assert await outbox.peek_deferred() is None
    assert outbox.oldest_age_seconds > 0
    assert await drained(outbox) == ["a"]
    await outbox.close()


@pytest.mark.parametrize("texts", ["ab", "abcd"])
async def test_records_that_an_unreadable_segment_has_as_well_are_delivered_once(tmp_path: Path, texts: str) -> None:
    """The process died when the records had got files of their own and their segment was not removed yet."""
    outbox = Outbox.open(tmp_path / "one", max_bytes=BIG)
    for text in texts:
        await append(outbox, exchange(text))
    shutil.copytree(tmp_path / "one" / "log", tmp_path / "crashed" / "log")
    batch = await outbox.peek_batch(BIG, 2)
    assert batch is not None
    await outbox.defer(batch)
    shutil.copytree(tmp_path / "one" / "waiting", tmp_path / "crashed" / "waiting")
    await outbox.close()
    (segment,) = files(tmp_path / "crashed", "log")
    segment.rename(tmp_path / "moved")
    segment.mkdir()
    outbox = Outbox.open(tmp_path / "crashed", max_bytes=BIG)
    segment.rmdir()
    (tmp_path / "moved").rename(segment)
    assert await drained(outbox) == [*"ab"]
    assert await outbox.peek_deferred() is None
    assert await drained(outbox) == [*texts[2:]]
    assert outbox.depth == 0
    await outbox.close()
    assert (outbox.size_bytes, files(tmp_path / "crashed", "log")) == (0, [])


async def test_an_unreadable_segment_that_turns_out_damaged_is_told_and_moved_aside(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    await left_behind(tmp_path, "c")
    segment.write_bytes(segment.read_bytes()[:-1])
    segment.rename(tmp_path / "moved")
    segment.mkdir()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await drained(outbox) == ["c"]
    segment.rmdir()
    (tmp_path / "moved").rename(segment)
    with capture_logs() as logs:
        assert await outbox.peek_deferred() is None
    assert [(entry["event"], entry["file"]) for entry in logs] == [("outbox.damaged", f"log/{segment.name}")]
    assert (outbox.depth, outbox.refused) == (1, 1)
    assert await drained(outbox) == ["a"]
    assert (outbox.depth, outbox.refused) == (0, 1)
    await outbox.close()
    assert [file.name for file in files(tmp_path, "refused")] == [f"{segment.stem}.reason", segment.name]


async def test_an_outbox_of_which_the_disk_has_lost_everything_is_empty(tmp_path: Path) -> None:
    segment = await left_behind(tmp_path, "a", "b")
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    segment.unlink()
    assert await outbox.peek_batch(BIG) is None
    async with asyncio.timeout(20):
        await outbox.wait_until_empty()
    waiting = asyncio.create_task(outbox.wait_for_records())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await outbox.close()


async def test_a_callback_that_fails_disturbs_no_other(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    told: list[OutboxError | None] = []

    def fail(_error: OutboxError | None) -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        outbox.keep(exchange("a"), fail)
        outbox.keep(exchange("b"), told.append)
        await append(outbox, exchange("c"))
    assert told == [None]
    assert [entry["event"] for entry in logs] == ["outbox.bug"]
    assert await drained(outbox) == [*"abc"]
    await outbox.close()


async def test_what_was_kept_in_the_last_turn_is_on_disk_when_the_outbox_is_closed(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    told: list[OutboxError | None] = []
    large: Exchange = exchange(LARGE)
    for one in (exchange("a"), large, exchange("b")):
        outbox.keep(one, told.append)
    await outbox.close()
    assert told == [None] * 3
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await drained(outbox) == ["a", LARGE, "b"]
    await outbox.close()


@pytest.mark.parametrize("batch_records", [5, 1000])
@pytest.mark.parametrize("fsync", [False, True])
async def test_room_is_counted_as_it_is_while_segments_are_written_and_removed_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool, batch_records: int
) -> None:
    """Segments of 2 KiB are full after some records, and finished while others are written."""
    monkeypatch.setattr("chat_service.outbox.outbox.SEGMENT_BYTES", 2 * KIB)
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    left, told = 600, list[OutboxError | None]()
    delivered: list[str] = []
    while len(told) < 600 or outbox.depth:
        for number in range(min(left, 7)):
            outbox.keep(exchange(f"{left - number}"), told.append)
        left -= min(left, 7)
        await asyncio.sleep(0)
        if (batch := await outbox.peek_batch(BIG, batch_records)) is not None:
            delivered += [text_of(record) for record in batch.records]
            await outbox.done(batch)
    assert told == [None] * 600
    assert delivered == [str(number) for number in range(600, 0, -1)]
    assert outbox.size_bytes == sum(file.stat().st_size for file in files(tmp_path, "log"))
    await append(outbox, exchange("last"))
    assert await drained(outbox) == ["last"]
    assert outbox.size_bytes == 0
    await outbox.close()
    assert files(tmp_path, "log") == []


async def test_room_is_given_back_of_what_is_delivered_while_a_write_goes_on_that_then_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    await append(outbox, exchange("a"))
    begun, go_on = threading.Event(), threading.Event()

    def fail_slowly(_file: int) -> None:
        begun.set()
        assert go_on.wait(20)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail_slowly)
    second = asyncio.create_task(append(outbox, exchange("b")))
    assert await asyncio.to_thread(begun.wait, 20)
    assert await drained(outbox) == ["a"]
    assert outbox.size_bytes > 0, "the segment is being written"
    go_on.set()
    with pytest.raises(OutboxUnwritable):
        await second
    await outbox.wait_until_empty()
    assert outbox.size_bytes == files(tmp_path, "log")[0].stat().st_size == 0
    await outbox.close()


async def test_what_is_written_to_a_segment_while_it_is_found_damaged_is_lost_with_it_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_service.outbox.queue.FRONT_BYTES", 1)  # all is read again from the disk
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    await append(outbox, exchange("a"))
    begun, go_on, real = threading.Event(), threading.Event(), os.fdatasync

    def slowly(file: int) -> None:
        begun.set()
        assert go_on.wait(20)
        real(file)

    monkeypatch.setattr(os, "fdatasync", slowly)
    second = asyncio.create_task(append(outbox, exchange("b")))
    assert await asyncio.to_thread(begun.wait, 20)
    (segment,) = files(tmp_path, "log")
    segment.write_bytes(bytes(segment.stat().st_size))
    assert await drained(outbox) == []
    go_on.set()
    await second
    assert await drained(outbox) == []
    assert (outbox.depth, outbox.refused) == (0, 2)
    await append(outbox, exchange("c"))
    assert await drained(outbox) == ["c"]
    await outbox.close()


async def test_what_waited_for_a_large_record_is_kept_before_what_came_later_and_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    await append(outbox, exchange("before"))
    stops = {name: (threading.Event(), threading.Event()) for name in ("fsync", "fdatasync")}

    def slowly(name: str, real: Callable[[int], None], file: int) -> None:
        begun, go_on = stops[name]
        begun.set()
        assert go_on.wait(60)
        real(file)

    for name in stops:
        monkeypatch.setattr(os, name, partial(slowly, name, getattr(os, name)))
    large = asyncio.create_task(append(outbox, exchange(LARGE)))
    assert await asyncio.to_thread(stops["fsync"][0].wait, 20)
    behind = asyncio.create_task(append(outbox, exchange("behind")))
    other = asyncio.create_task(append(outbox, exchange("other", session_id=uuid4())))
    assert await asyncio.to_thread(stops["fdatasync"][0].wait, 20)
    later = asyncio.create_task(append(outbox, exchange("later", session_id=uuid4())))
    stops["fsync"][1].set()
    await large
    assert [task.done() for task in (behind, other, later)] == [False] * 3
    stops["fdatasync"][1].set()
    async with asyncio.timeout(60):
        await asyncio.gather(behind, other, later)
    assert await drained(outbox) == ["before", LARGE, "other", "behind", "later"]
    await outbox.close()


async def test_a_damaged_segment_is_never_moved_over_another_one(tmp_path: Path) -> None:
    for _ in range(2):
        segment = await left_behind(tmp_path, "a")
        segment.write_bytes(bytes(segment.stat().st_size))
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        await append(outbox, exchange("b"))
        assert await drained(outbox) == ["b"]
        await outbox.close()
    assert len([file for file in files(tmp_path, "refused") if file.suffix == ".segment"]) == 2


async def test_a_segment_that_is_finished_while_a_thread_begins_the_next_one_is_counted_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_service.outbox.outbox.SEGMENT_BYTES", 100)  # each record has its own
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    await append(outbox, exchange("a"))
    begun, go_on, real = threading.Event(), threading.Event(), os.fdatasync

    def slowly(file: int) -> None:
        begun.set()
        assert go_on.wait(60)
        real(file)

    monkeypatch.setattr(os, "fdatasync", slowly)
    second = asyncio.create_task(append(outbox, exchange("b")))
    assert await asyncio.to_thread(begun.wait, 20)
    assert await drained(outbox) == ["a"]
    assert outbox.size_bytes == 0
    go_on.set()
    await second
    assert outbox.size_bytes == sum(file.stat().st_size for file in files(tmp_path, "log")) > 0
    assert await drained(outbox) == ["b"]
    await append(outbox, exchange("c"))
    assert await drained(outbox) == ["c"]
    assert outbox.size_bytes == 0
    await outbox.close()
    assert files(tmp_path, "log") == []
