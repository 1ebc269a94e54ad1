"""Processes that use an outbox and are killed at a chosen call to the system. `test_faults.py` runs this."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_service.outbox import Outbox
from tests.chat.outbox.parts import append, files, text_of
from tests.support.exchanges import exchange

CALLS = (
    *("open", "write", "pwrite", "close", "fsync", "fdatasync"),
    *("truncate", "ftruncate", "rename", "unlink", "mkdir"),
)
"""All by which the outbox changes the disk; the test sees to it that each is really met."""
WRITES = ("write", "pwrite")
LARGE = "x" * 200_000
TEXTS = ["0", "1" + LARGE, "2" + LARGE, "3", "4", "5" + LARGE, "6", "7"]
LEFT = 1  # this many are left by an earlier process, which died while it wrote another one
BATCH = 5  # of these are delivered
REFUSED = {2, 3}  # of the batch: a large one and a small one


class Killer:
    """Counts the calls of this process, and kills it before, in the middle of, or after one of them.

    Args:
        number: the call.
        moment: "before", "half" (of a write) or "after".
    """

    def __init__(self, number: int, moment: str) -> None:
        self.met: list[str] = []
        self._number = number
        self._moment = moment
        self.write = os.write  # for what the test itself writes

    def watch(self) -> None:
        for name in CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            chosen = len(self.met) == self._number
            self.met.append(name)
            if chosen and self._moment == "before":
                self._die()
            if chosen and self._moment == "half" and name in WRITES:
                real(args[0], args[1][: len(args[1]) // 2], *args[2:])
                self._die()
            result = real(*args, **options)
            if chosen and self._moment == "after":
                self._die()
            return result

        return call

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def leave(folder: Path) -> None:
    """Leave a record, and the beginning of another one, as a process does that dies while it writes."""
    outbox = Outbox.open(folder, max_bytes=1 << 30)
    await append(outbox, exchange(TEXTS[0]))
    await outbox.close()
    (segment,) = files(folder, "log")
    segment.write_bytes(segment.read_bytes() + segment.read_bytes()[:-5])


async def use(folder: Path, journal: int, write: Callable[[int, bytes], int], *, fsync: bool) -> None:
    """Append, deliver and have refused; write down what was promised, once it was."""
    outbox = Outbox.open(folder, max_bytes=1 << 30, fsync=fsync)
    for text in TEXTS[LEFT:BATCH]:
        await append(outbox, exchange(text))
        write(journal, f"kept {text[0]}\n".encode())
    batch = await outbox.peek_batch(1 << 30)
    records: list[str] = []
    while batch is not None and len(records) < BATCH:
        texts = [text_of(record) for record in batch.records]
        refused = {index: "no" for index, text in enumerate(texts) if TEXTS.index(text) in REFUSED}
        write(journal, b"delivering\n")
        records += texts
        await outbox.done(batch, refused)
        batch = await outbox.peek_batch(1 << 30)
    assert records == TEXTS[:BATCH]
    write(journal, b"done\n")

    async def keep(text: str) -> None:
        await append(outbox, exchange(text))
        write(journal, f"kept {text[0]}\n".encode())

    await keep(TEXTS[BATCH])
    await asyncio.gather(*(keep(text) for text in TEXTS[BATCH + 1 :]))
    await outbox.close()


def run_one(folder: Path, number: int, moment: str, *, fsync: bool) -> None:
    """Use an outbox in a process of its own."""
    asyncio.run(leave(folder))
    child = os.fork()
    if child == 0:
        journal = os.open(folder.with_suffix(".journal"), os.O_WRONLY | os.O_CREAT, 0o600)
        killer = Killer(number, moment)
        killer.watch()
        asyncio.run(use(folder, journal, killer.write, fsync=fsync))
        killer.write(journal, f"met {' '.join(killer.met)}\n".encode())
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    where, fsync = Path(sys.argv[1]), sys.argv[2] == "fsync"
    run_one(where / "undisturbed", -1, "", fsync=fsync)
    met = (where / "undisturbed.journal").read_text().splitlines()[-1].split()[1:]
    for number, name in enumerate(met):
        for moment in ("before", "half", "after") if name in WRITES else ("before", "after"):
            run_one(where / f"{number:03}-{moment}", number, moment, fsync=fsync)


if __name__ == "__main__":
    main()
