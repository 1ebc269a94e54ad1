"""The outbox when its process is killed, or the disk fails, at each single call to the system."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chat_service.outbox import Outbox, OutboxUnwritable, RecordName
from chat_service.outbox.records import CHECKSUM_BYTES
from devtools.servers import ROOT
from frameproto.exchange import encode_exchange
from tests.chat.outbox.killed import BATCH, CALLS, LARGE, LEFT, REFUSED, TEXTS, WRITES
from tests.chat.outbox.parts import BIG, append, drained, files, payload
from tests.support.exchanges import exchange

SMALL_APPEND = ["pwrite"]
SMALL_APPEND_IN_A_NEW_SEGMENT = ["open", "pwrite"]
LARGE_APPEND = ["open", *["write"] * 4, "close", "open", "write", "close", "rename"]


def refused_numbers(folder: Path) -> set[int]:
    """Return which of the texts are in `refused/`, whole."""
    numbers = set()
    for file in files(folder, "refused"):
        if (name := RecordName.parse(file.name)) is not None:
            text = TEXTS[name.number - 1]
            data = file.read_bytes()[CHECKSUM_BYTES:]
            if name.media_bytes:
                data += (folder / "media" / file.name).read_bytes()
            assert text.encode() in data
            numbers.add(name.number - 1)
    return numbers


async def judge(folder: Path, said: list[str]) -> list[str]:
    """Open a folder again that a killed process has left; return what is wrong with it."""
    kept = {*range(LEFT), *(int(line.split()[1]) for line in said if line.startswith("kept"))}
    outbox = Outbox.open(folder, max_bytes=BIG)
    refused = refused_numbers(folder)
    counted = outbox.refused
    depth = outbox.depth
    texts = await drained(outbox)
    there = [TEXTS.index(text) for text in texts if text in TEXTS]
    complaints = []
    if len(there) != len(texts):
        complaints.append("something half-written is delivered")
    if len(texts) != depth or counted != len(refused):
        complaints.append(f"it counts {depth} and {counted} where there are {len(texts)} and {len(refused)}")
    if there != sorted(set(there)):
        complaints.append(f"not in order, or not once: {there}")
    if not set(there) <= kept | {max(kept) + 1, max(kept) + 2}:
        complaints.append(f"more than those in the making: {there}, and {kept} were kept")
    if not refused <= REFUSED:
        complaints.append(f"refused by nobody: {refused}")
    delivered = set(range(BATCH)) - REFUSED if "delivering" in said else set()
    if missing := kept - set(there) - refused - delivered:
        complaints.append(f"answered, and lost: {missing}")
    await append(outbox, exchange("after"))
    if await drained(outbox) != ["after"]:
        complaints.append("it does not work any more")
    await outbox.close()
    if files(folder) or files(folder, "writing") or files(folder, "log"):
        complaints.append("files are left behind")
    aside = {file.name for file in files(folder, "refused") if "+" in file.name and file.suffix == ".record"}
    if {file.name for file in files(folder, "media")} != aside:
        complaints.append(f"media {files(folder, 'media')}, and refused are {aside}")
    return complaints


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["fsync", "no fsync"])
async def test_killed_at_any_call_it_has_what_was_answered_and_nothing_half_written(tmp_path: Path, mode: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.chat.outbox.killed", str(tmp_path), mode], cwd=ROOT, check=True, timeout=250
    )
    complaints: list[str] = []
    journals = sorted(tmp_path.glob("*.journal"))
    for journal in journals:
        said = journal.read_text().splitlines()
        complaints += [f"killed at {journal.stem}: {why}" for why in await judge(journal.with_suffix(""), said)]
    assert complaints == []
    met = (tmp_path / "undisturbed.journal").read_text().splitlines()[-1].split()[1:]
    assert set(met) == set(CALLS) - ({"fsync", "fdatasync"} if mode == "no fsync" else set())
    assert len(journals) == 1 + 2 * len(met) + sum(name in WRITES for name in met)
    if mode == "no fsync":  # what comes between the first large record and the first delivery
        start = met.index("write") - 1
        appends = [*LARGE_APPEND, *LARGE_APPEND, *SMALL_APPEND_IN_A_NEW_SEGMENT, *SMALL_APPEND]
        assert met[start : start + len(appends)] == appends


class Disk:
    """Fails at one of the calls that come while it is watched, or from that one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, code: int, *, for_good: bool = False) -> None:
        self.calls = 0
        self._number = number
        self._code = code
        self._for_good = for_good
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    @property
    def failed(self) -> bool:
        return self.calls > self._number

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls <= self._number or (self.calls > self._number + 1 and not self._for_good):
                return real(*args, **options)
            if name in WRITES:
                real(args[0], args[1][: len(args[1]) // 2], *args[2:])
            if name == "close":
                real(*args)
            raise OSError(self._code, os.strerror(self._code))

        return call


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("text", ["small", "in a new segment", LARGE], ids=["small", "new segment", "large"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_whichever_call_the_disk_fails_the_record_is_refused_whole_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str, fsync: bool
) -> None:
    usual = {"small": SMALL_APPEND, LARGE: LARGE_APPEND}.get(text, SMALL_APPEND_IN_A_NEW_SEGMENT)
    for number in range(50):
        folder = tmp_path / str(number)
        outbox = Outbox.open(folder, max_bytes=BIG, fsync=fsync)
        await append(outbox, exchange("before"))
        if text == "in a new segment":
            await outbox.close()
            outbox = Outbox.open(folder, max_bytes=BIG, fsync=fsync)
        size = outbox.size_bytes
        with monkeypatch.context() as patch:
            disk = Disk(patch, number, code)
            if number >= len(usual) and not disk.failed:
                try:
                    await append(outbox, exchange(text))
                except OutboxUnwritable:
                    assert disk.failed
            else:
                with pytest.raises(OutboxUnwritable, match=os.strerror(code)):
                    await append(outbox, exchange(text))
        if not disk.failed:
            assert number >= len(usual)
            assert await drained(outbox) == ["before", text]
            await outbox.close()
            return
        assert (outbox.depth, outbox.size_bytes) == (1, size)
        assert [len(files(folder, kind)) for kind in ("writing", "waiting", "media")] == [0, 0, 0]
        with capture_logs() as logs:
            await append(outbox, exchange("after" + text))
        assert [entry["event"] for entry in logs] == []
        assert await drained(outbox) == ["before", "after" + text]
        await outbox.close()
        assert [files(folder, kind) for kind in ("log", "refused")] == [[], []]
    raise AssertionError("an append has no end")


def take_half(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    """Take a little more than half of the next write, as a disk does that becomes full; then there is room again."""

    def pwrite(file: int, data: Any, at: int) -> int:
        calls.append("pwrite")
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[: len(data) // 2 + 5] if len(calls) == 1 else data, at)

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)


@pytest.mark.parametrize("fsync", [False, True])
async def test_of_many_in_one_turn_those_are_kept_that_the_disk_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool
) -> None:
    """The first write is taken up to the record in the middle, and the rest is tried again without that one."""
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=fsync)
    await append(outbox, exchange("before"))
    told: dict[str, bool] = {}

    def on_kept(text: str) -> Callable[[object], None]:
        return lambda error: told.__setitem__(text, error is None)

    with monkeypatch.context() as patch:
        take_half(patch, [])
        for text in "abcdefgh":
            outbox.keep(exchange(text), on_kept(text))
        await append(outbox, exchange("i"))
    assert told == {text: text != "e" for text in "abcdefgh"}
    assert list(told) == [*"abcdefgh"]
    assert await drained(outbox) == ["before", *"abcdfgh", "i"]
    await outbox.close()


async def test_with_fsync_what_a_full_disk_took_is_synced_before_its_callers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    await append(outbox, exchange("before"))
    calls: list[str] = []
    take_half(monkeypatch, calls)
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        calls.append("fdatasync")
        real(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    outbox.keep(exchange("a"), lambda error: calls.append("refused" if error else "kept"))
    with pytest.raises(OutboxUnwritable):
        await append(outbox, exchange("b"))
    assert calls == ["pwrite", "pwrite", "fdatasync", "kept"]
    assert await drained(outbox) == ["before", "a"]
    await outbox.close()


async def test_a_segment_that_cannot_be_cut_is_written_no_more_and_what_is_half_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("before"))
    with monkeypatch.context() as patch, capture_logs() as logs:
        Disk(patch, 0, errno.EIO, for_good=True)
        with pytest.raises(OutboxUnwritable):
            await append(outbox, exchange("refused"))
    assert [entry["event"] for entry in logs] == ["outbox.uncut"]
    await append(outbox, exchange("after"))
    assert len(files(tmp_path, "log")) == 2
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert (outbox.depth, outbox.refused) == (2, 1)
    assert await drained(outbox) == ["before", "after"]
    await outbox.close()
    assert [file.suffix for file in files(tmp_path, "refused")] == [".reason", ".segment"]


async def test_a_refused_record_that_cannot_be_cut_off_is_not_delivered_while_the_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "a" * 1000
    monkeypatch.setattr("chat_service.outbox.queue.FRONT_BYTES", len(encode_exchange(exchange(first))) + 1)
    monkeypatch.setattr("chat_service.outbox.reader.FRONT_BYTES", BIG)
    outbox = Outbox.open(tmp_path, max_bytes=BIG, fsync=True)
    for text in (first, "b"):  # the second is read again from the disk, behind which there is the refused one
        await append(outbox, exchange(text))
    with monkeypatch.context() as patch:
        Disk(patch, 1, errno.EIO, for_good=True)  # the write is whole; neither the sync nor the cut succeeds
        with pytest.raises(OutboxUnwritable):
            await append(outbox, exchange("refused"))
    await append(outbox, exchange("after"))
    assert len(files(tmp_path, "log")) == 2
    assert await drained(outbox) == [first, "b", "after"]
    assert (outbox.depth, outbox.refused) == (0, 0)
    await outbox.close()


async def test_a_record_that_cannot_be_let_go_is_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever removal fails, the others are gone, and this one is still whole."""
    for number in range(20):
        outbox = Outbox.open(tmp_path / str(number), max_bytes=BIG)
        for text in ("a" + LARGE, LARGE, "c" + LARGE):
            await append(outbox, exchange(text))
        batch = await outbox.peek_batch(BIG)
        assert batch is not None
        whole = [payload(record) for record in batch.records]
        with monkeypatch.context() as patch, capture_logs() as logs:
            disk = Disk(patch, number, errno.EIO)
            await outbox.done(batch)
        if not disk.failed:
            assert number == 6
            await outbox.close()
            return
        assert await outbox.peek_batch(BIG) is None
        again = await outbox.peek_deferred()
        assert (again is None) == (number % 2 == 1), "media without a record are no trouble"
        if again is not None:
            (record,) = again.records
            assert payload(record) in whole
            assert [entry["file"] for entry in logs] == [f"waiting/{record.name}"]
            await outbox.done(again)
        assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 0)
        await outbox.close()
    raise AssertionError("a removal has no end")


async def test_when_nothing_can_be_removed_all_of_it_is_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "ab":
        await append(outbox, exchange(text + LARGE))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    with monkeypatch.context() as patch:
        Disk(patch, 0, errno.EROFS, for_good=True)
        with pytest.raises(OutboxUnwritable, match="Read-only"):
            await outbox.done(batch)
    assert await drained(outbox) == ["a" + LARGE, "b" + LARGE]
    await outbox.close()


async def test_a_segment_that_cannot_be_removed_is_tried_again_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("a"))
    await append(outbox, exchange("b"))
    with monkeypatch.context() as patch, capture_logs() as logs:
        Disk(patch, 0, errno.EROFS, for_good=True)
        assert await drained(outbox) == ["a", "b"]
        assert (outbox.depth, outbox.size_bytes > 0) == (0, True)
        assert [(entry["event"], entry["consequence"]) for entry in logs] == [
            ("outbox.stuck", "delivered again after a restart")
        ]
    await append(outbox, exchange("c"))
    assert await drained(outbox) == ["c"]
    assert (outbox.depth, outbox.size_bytes) == (0, 0)
    await outbox.close()
    assert files(tmp_path, "log") == []


async def test_each_segment_that_cannot_be_removed_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_service.outbox.outbox.SEGMENT_BYTES", 100)  # each record has its own
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    segments = files(tmp_path, "log")
    with monkeypatch.context() as patch, capture_logs() as logs:
        Disk(patch, 0, errno.EROFS, for_good=True)
        assert await drained(outbox, batch_bytes=1) == [*"abc"]
    assert [entry["file"] for entry in logs] == [f"log/{segment.name}" for segment in segments]
    await outbox.close()
    assert files(tmp_path, "log") == []


async def test_a_refused_record_for_which_the_disk_has_no_room_is_passed_by_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None
    with monkeypatch.context() as patch:
        Disk(patch, 0, errno.ENOSPC, for_good=True)
        await outbox.done(batch, {1: "no"})
    assert (outbox.depth, outbox.deferred, outbox.refused) == (1, 1, 0)
    assert await outbox.peek_batch(BIG) is None
    await append(outbox, exchange("d"))
    assert await drained(outbox) == ["d"]
    again = await outbox.peek_deferred()
    assert again is not None
    assert payload(again.records[0]) == payload(batch.records[1])
    await outbox.done(again, {0: "no"})
    assert (outbox.depth, outbox.deferred, outbox.refused, outbox.size_bytes) == (0, 0, 1, 0)
    await outbox.close()
    assert [file.suffix for file in files(tmp_path, "refused")] == [".reason", ".record"]


@pytest.mark.parametrize("is_left", [False, True], ids=["just written", "of an earlier process"])
async def test_a_deferred_record_that_stays_in_its_segment_and_is_damaged_there_is_dead_lettered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_left: bool
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    for text in "abc":
        await append(outbox, exchange(text))
    if is_left:
        await outbox.close()
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
    batch = await outbox.peek_batch(BIG, 2)
    assert batch is not None
    with monkeypatch.context() as patch:
        Disk(patch, 0, errno.ENOSPC, for_good=True)
        await outbox.defer(batch)
    assert (outbox.depth, outbox.deferred) == (3, 2)
    assert await drained(outbox) == ["c"]
    (segment,) = files(tmp_path, "log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 3 - 1] ^= 1  # the last byte of the first record
    segment.write_bytes(data)
    with capture_logs() as logs:
        again = await outbox.peek_deferred()
    assert [(entry["event"], entry["file"]) for entry in logs] == [("outbox.damaged", f"log/{segment.name}")]
    assert (outbox.depth, outbox.deferred, outbox.refused) == (1, 1, 1)
    assert again is not None
    assert payload(again.records[0]) == payload(batch.records[1])
    await outbox.done(again)
    assert (outbox.depth, outbox.size_bytes, outbox.refused) == (0, 0, 1)
    await outbox.close()
    assert [file.name for file in files(tmp_path, "refused")] == [f"{segment.stem}.reason", segment.name]
    reason = (tmp_path / "refused" / segment.name).with_suffix(".reason").read_text()
    assert reason == f"the disk did not keep these bytes: record {batch.records[0].name}, from byte 0 on\n"


async def test_what_cannot_be_tidied_up_does_not_keep_the_folder_from_being_opened(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await append(outbox, exchange("a"))
    await outbox.close()
    (tmp_path / "writing" / "a folder").mkdir()
    (tmp_path / "media" / "000000000009-1795488731020+311294.record").mkdir()
    with capture_logs() as logs:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["outbox.leftover"] * 2
    assert await drained(outbox) == ["a"]
    await outbox.close()
