"""A permit of the pool of one process, and its loss."""

import asyncio

import pytest

from permits.memory_permit import MemoryPermit

pytestmark = pytest.mark.looptime


async def test_its_holder_is_told_once_of_a_loss_also_when_it_asks_later() -> None:
    given_back: list[MemoryPermit] = []
    losses: list[int] = []
    told: list[str] = []
    permit = MemoryPermit("anna", 1, give_back=given_back.append, report_lost=losses.append)
    permit.on_lost(lambda: told.append("first"))
    await asyncio.sleep(1)
    assert (permit.valid(), told) == (True, [])
    for _ in range(2):
        permit.lose()
    await asyncio.sleep(1)
    assert (permit.valid(), told, losses, given_back) == (False, ["first"], [1], [permit])
    permit.on_lost(lambda: told.append("late"))
    await asyncio.sleep(1)
    permit.release()
    assert (told, losses, given_back) == (["first", "late"], [1], [permit])


async def test_one_that_was_released_is_not_lost() -> None:
    given_back: list[MemoryPermit] = []
    told: list[str] = []
    permit = MemoryPermit("anna", 1, give_back=given_back.append, report_lost=lambda _: told.append("reported"))
    permit.on_lost(lambda: told.append("lost"))
    for _ in range(2):
        permit.release()
    permit.lose()
    await asyncio.sleep(1)
    assert (permit.valid(), told, given_back) == (False, [], [permit])
