"""What can go wrong on the way of a message into history. Each fault ends when its cause is mended."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping

from tests.chaos.delivery.town import CLIENTS, Town

MEANWHILE = 20
"""By so many answers a fault is prolonged, so that it meets a system in use."""
FILL_BYTES = 64 * 1024

Fault = Callable[[Town], Awaitable[None]]


async def kill_chat(town: Town) -> None:
    """Kill each chat process while its outbox holds what clients saw answered."""
    for index in town.chance.sample(range(2), 2):
        town.fault("history is stopped")
        for pod in town.stack.history:
            pod.kill(signal.SIGSTOP)
        await town.answered(MEANWHILE)
        town.fault(f"chat{index} is killed")
        killing = asyncio.create_task(town.kill_chat(index))
        for pod in town.stack.history:
            pod.kill(signal.SIGCONT)
        await killing
        await town.calm()


async def kill_history(town: Town) -> None:
    """Kill each history process while exchanges come in."""
    for index in town.chance.sample(range(2), 2):
        await town.answered(town.chance.randint(1, MEANWHILE))
        town.fault(f"history{index} is killed")
        await town.kill_history(index)
        await town.calm()


async def restart_mongod(town: Town) -> None:
    """Restart MongoDB, and let the outboxes fill meanwhile."""
    town.fault("mongod stops")
    await asyncio.to_thread(town.mongod.stop)
    await town.answered(MEANWHILE)
    town.fault("mongod starts")
    await asyncio.to_thread(town.mongod.start)


async def stop_s3(town: Town) -> None:
    """Hold up all that history says to S3 for a while, then break these connections."""
    town.fault("S3 stops")
    town.media.stall()
    await asyncio.sleep(town.outage_seconds)  # how long it lasts is what the fault is about
    await town.answered(CLIENTS)

    async def held_up() -> bool:
        return await town.undelivered() > 0

    await town.until(held_up, "exchanges wait for S3")
    town.fault("S3 is back")
    town.media.cut()
    town.media.resume()


async def fill_disk(town: Town) -> None:
    """Fill the disk of an outbox until clients are told, then give the room back."""
    if town.disk is None:
        return
    town.fault("the disk of chat0 is filled")
    before = town.refusals.count("storage_full")
    filler = town.disk / "filler"

    async def told() -> bool:
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(FILL_BYTES)):  # as deliveries make room, more is filled
                pass
        return town.refusals.count("storage_full") >= before + 2

    await town.until(told, "clients are told that the disk is full")
    filler.unlink()
    town.fault("the disk has room again")


FAULTS: Mapping[str, Fault] = {
    fault.__name__.replace("_", "-"): fault for fault in (kill_chat, kill_history, restart_mongod, stop_s3, fill_disk)
}
