"""What it costs to keep an exchange and to let go of it, beside a file for each: ./taskw bench:outbox.

The contender is the outbox's own spool, which had a file for every exchange before the log: created, written, renamed,
read again and removed. Both keep the same exchanges in turns, in a folder on the same disk.
"""

import argparse
import asyncio
import gc
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from bench.machine import busy_share, processor
from bench.samples import Sample
from chat_service.outbox import Outbox, OutboxError, RecordName
from chat_service.outbox.spool import Spool
from frameproto import Request, RequestKind, Response, ResponseKind, encode_request, encode_response
from frameproto.exchange import Exchange, encode_exchange
from frameproto.kinds import Outcome
from servicekit.uuid7 import uuid7

MICROSECONDS: Final = 1_000_000
MAX_BYTES: Final = 1 << 30
BATCH: Final = 200
TURNS: Final = (1, 10, 50)
"""How many exchanges are kept in one turn of the event loop."""
AT_ONCE: Final = 50
TEXT: Final = b"say " + b"x" * 120


@dataclass(frozen=True, slots=True)
class Cost:
    """What one exchange cost.

    Attributes:
        keep_us: CPU time to keep it.
        deliver_us: CPU time to have it at hand for a delivery, and to let go of it.
        per_second: how many were kept.
    """

    keep_us: float
    deliver_us: float
    per_second: float


def exchange() -> Exchange:
    """Return a small text, answered."""
    now = datetime.now(UTC)
    return Exchange(
        id=uuid7(now),
        session_id=uuid4(),
        client_id="bench",
        time_zone="UTC",
        received_at=now,
        answered_at=now,
        outcome=Outcome.ANSWERED,
        request=encode_request(Request(RequestKind.TEXT, TEXT)),
        response=encode_response(Response(ResponseKind.TEXT, TEXT.decode())),
    )


async def of_log(folder: Path, exchanges: Sequence[Exchange], turn: int, *, fsync: bool) -> Cost:
    """Keep exchanges in the outbox, so many in each turn, and take all of them out again."""
    outbox = Outbox.open(folder, max_bytes=MAX_BYTES, fsync=fsync)
    cpu, began = time.process_time(), time.perf_counter()
    for start in range(0, len(exchanges), turn):
        await _keep(outbox, exchanges[start : start + turn])
    kept, seconds = time.process_time(), time.perf_counter() - began
    while (batch := await outbox.peek_batch(MAX_BYTES, BATCH)) is not None:
        await outbox.done(batch)
    delivered = time.process_time()
    await outbox.close()
    return _cost(cpu, kept, delivered, len(exchanges), seconds)


def of_files(folder: Path, exchanges: Sequence[Exchange], *, fsync: bool) -> Cost:
    """Keep each exchange in a file of its own, and read and remove all of them."""
    spool = Spool.open(folder, fsync=fsync)
    names = [RecordName(number, 0) for number in range(1, len(exchanges) + 1)]
    cpu, began = time.process_time(), time.perf_counter()
    for name, one in zip(names, exchanges, strict=True):
        spool.write(name, encode_exchange(one))
    kept, seconds = time.process_time(), time.perf_counter() - began
    for name in names:
        spool.read(name)
        spool.remove(name)
    delivered = time.process_time()
    spool.close()
    return _cost(cpu, kept, delivered, len(exchanges), seconds)


async def _keep(outbox: Outbox, exchanges: Sequence[Exchange]) -> None:
    done = asyncio.get_running_loop().create_future()
    left = len(exchanges)

    def on_kept(error: OutboxError | None) -> None:
        nonlocal left
        left -= 1
        if error is not None and not done.done():
            done.set_exception(error)
        elif not left:
            done.set_result(None)

    for one in exchanges:
        outbox.keep(one, on_kept)
    await done


def _cost(began: float, kept: float, delivered: float, count: int, seconds: float) -> Cost:
    return Cost((kept - began) / count * MICROSECONDS, (delivered - kept) / count * MICROSECONDS, count / seconds)


async def measure(folder: Path, repeats: int, count: int) -> dict[str, list[Cost]]:
    """Measure in turns, each repetition all of it."""
    exchanges = [exchange() for _ in range(count)]
    synced = exchanges[: max(1, count // 10)]
    found: dict[str, list[Cost]] = {}
    for number in range(repeats):

        def place(name: str, number: int = number) -> Path:
            return folder / f"{number} {name}"

        for turn in TURNS:
            name = f"log, {turn} in a turn"
            found.setdefault(name, []).append(await of_log(place(name), exchanges, turn, fsync=False))
        name = f"log, {AT_ONCE} in a turn, fsync"
        found.setdefault(name, []).append(await of_log(place(name), synced, AT_ONCE, fsync=True))
        for name, fsync in (("a file each", False), ("a file each, fsync", True)):
            some = synced if fsync else exchanges
            found.setdefault(name, []).append(of_files(place(name), some, fsync=fsync))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="bench:outbox", description="Measure what keeping an exchange costs.")
    parser.add_argument("--repeats", type=int, default=5, help="how often each measurement is taken")
    parser.add_argument("--exchanges", type=int, default=5000, help="in one measurement; a tenth of it with fsync")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    options = parser.parse_args(argv)
    gc.disable()
    busy = busy_share()
    with TemporaryDirectory(dir=options.folder) as folder:
        found = asyncio.run(measure(Path(folder), options.repeats, options.exchanges))
    print(f"{processor()}, Python {platform.python_version()}; medians ± half the range; others used {busy:.0%}")
    print(f"{'':30} {'keep, CPU µs':>14} {'deliver, CPU µs':>17} {'kept a second':>16}")
    figures: dict[str, dict[str, dict[str, object]]] = {}
    for name, costs in found.items():
        samples = [Sample(tuple(getattr(cost, what) for cost in costs)) for what in Cost.__slots__]
        figures[name] = {what: sample.as_dict() for what, sample in zip(Cost.__slots__, samples, strict=True)}
        keep, deliver, rate = samples
        print(
            f"{name:30} {keep.median:8.1f} ±{keep.spread:4.0%} {deliver.median:11.1f} ±{deliver.spread:4.0%}"
            f" {rate.median:10,.0f} ±{rate.spread:4.0%}"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
