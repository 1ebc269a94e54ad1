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

from chat_service.outbox import Outbox, OutboxUnwritable
from devtools.servers import ROOT
from tests.chat.outbox_killed import BATCH, CALLS, LARGE, TEXTS
from tests.chat.outbox_parts import BIG, drained, files, payload
from tests.support.exchanges import exchange

SMALL_APPEND = ["open", "write", "close", "rename"]
LARGE_APPEND = ["open", *["write"] * 4, "close", *SMALL_APPEND]


def lost(kept: set[int], there: set[int], *, refused: bool, done: bool) -> set[int]:
    """Return which records had to be there and are not."""
    if refused:
        there = there | {BATCH - 1}
    if done:
        return kept - there - set(range(BATCH - 1))
    if len(kept) == BATCH:  # killed while these were being let go, in their order
        return {number for number in kept - there if number > min(there, default=-1)}
    return kept - there


async def judge(folder: Path, said: list[str]) -> list[str]:
    """Open a folder again that a killed process has left; return what is wrong with it."""
    kept = {int(line.split()[1]) for line in said if line.startswith("kept")}
    outbox = Outbox.open(folder, max_bytes=BIG)
    refused = outbox.refused
    texts = await drained(outbox)
    there = [TEXTS.index(text) for text in texts if text in TEXTS]
    complaints = []
    if len(there) != len(texts):
        complaints.append("something half-written is delivered")
    if there != sorted(set(there)):
        complaints.append(f"not in order, or not once: {there}")
    if not set(there) <= kept | {len(kept)}:
        complaints.append(f"more than the one in the making: {there}, and {kept} were kept")
    if missing := lost(kept, set(there), refused=bool(refused), done="done" in said):
        complaints.append(f"answered, and lost: {missing}")
    if files(folder) or files(folder, "writing"):
        complaints.append("files are left behind")
    aside = {file.name for file in files(folder, "refused") if file.suffix == ".record"}
    if {file.name for file in files(folder, "media")} != aside:
        complaints.append(f"media {files(folder, 'media')}, and refused are {aside}")
    await outbox.append(exchange("after"))
    if await drained(outbox) != ["after"]:
        complaints.append("it does not work any more")
    await outbox.close()
    return complaints


@pytest.mark.parametrize("mode", ["fsync", "no fsync"])
async def test_killed_at_any_call_it_has_what_was_answered_and_nothing_half_written(tmp_path: Path, mode: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.chat.outbox_killed", str(tmp_path), mode], cwd=ROOT, check=True, timeout=100
    )
    complaints: list[str] = []
    journals = sorted(tmp_path.glob("*.journal"))
    for journal in journals:
        said = journal.read_text().splitlines()
        complaints += [f"killed at {journal.stem}: {why}" for why in await judge(journal.with_suffix(""), said)]
    assert complaints == []
    met = (tmp_path / "undisturbed.journal").read_text().splitlines()[-1].split()[1:]
    assert set(met) == set(CALLS) - ({"fsync"} if mode == "no fsync" else set())
    assert len(journals) == 1 + 2 * len(met) + met.count("write")
    if mode == "no fsync":  # what comes between the folders and the first delivery
        start = met.index("write") - 1
        assert met[start : start + 24] == [*SMALL_APPEND, *LARGE_APPEND, *LARGE_APPEND]


class Disk:
    """Fails at one of the calls that come while it is watched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
        self.calls = 0
        self._number = number
        self._code = code
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    @property
    def failed(self) -> bool:
        return self.calls > self._number

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls != self._number + 1:
                return real(*args, **options)
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            if name == "close":
                real(*args)
            raise OSError(self._code, os.strerror(self._code))

        return call


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("text", ["small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_whichever_call_the_disk_fails_the_record_is_refused_whole_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str, fsync: bool
) -> None:
    for number in range(50):
        folder = tmp_path / str(number)
        outbox = Outbox.open(folder, max_bytes=BIG, fsync=fsync)
        await outbox.append(exchange("before"))
        size = outbox.size_bytes
        with monkeypatch.context() as patch:
            disk = Disk(patch, number, code)
            if number >= len(SMALL_APPEND) and not disk.failed:
                try:
                    await outbox.append(exchange(text))
                except OutboxUnwritable:
                    assert disk.failed
            else:
                with pytest.raises(OutboxUnwritable, match=os.strerror(code)):
                    await outbox.append(exchange(text))
        if not disk.failed:
            assert number >= len(LARGE_APPEND if text == LARGE else SMALL_APPEND)
            assert await drained(outbox) == ["before", text]
            await outbox.close()
            return
        assert (outbox.depth, outbox.size_bytes) == (1, size)
        assert [len(files(folder, kind)) for kind in ("writing", "waiting", "media")] == [0, 1, 0]
        await outbox.append(exchange("after" + text))
        assert await drained(outbox) == ["before", "after" + text]
        await outbox.close()
    raise AssertionError("an append has no end")


async def test_a_record_that_cannot_be_let_go_is_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever removal fails, the others are gone, and this one is still whole."""
    for number in range(20):
        outbox = Outbox.open(tmp_path / str(number), max_bytes=BIG)
        for text in ("a", LARGE, "c"):
            await outbox.append(exchange(text))
        batch = await outbox.peek_batch(BIG)
        assert batch is not None
        whole = [payload(record) for record in batch.records]
        with monkeypatch.context() as patch, capture_logs() as logs:
            disk = Disk(patch, number, errno.EIO)
            await outbox.done(batch)
        if not disk.failed:
            assert number == 4
            await outbox.close()
            return
        assert await outbox.peek_batch(BIG) is None
        again = await outbox.peek_deferred()
        assert (again is None) == (number == 2), "media without a record are no trouble"
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
        await outbox.append(exchange(text))
    batch = await outbox.peek_batch(BIG)
    assert batch is not None

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", read_only)
        with pytest.raises(OutboxUnwritable, match="Read-only"):
            await outbox.done(batch)
    assert await drained(outbox) == ["a", "b"]
    await outbox.close()


async def test_what_cannot_be_tidied_up_does_not_keep_the_folder_from_being_opened(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    await outbox.append(exchange("a"))
    await outbox.close()
    (tmp_path / "writing" / "a folder").mkdir()
    (tmp_path / "media" / "000000000009-1795488731020+311294.record").mkdir()
    with capture_logs() as logs:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["outbox.leftover"] * 2
    assert await drained(outbox) == ["a"]
    await outbox.close()
