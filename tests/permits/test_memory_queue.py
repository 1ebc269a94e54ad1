"""The line of the pool of one process: order, places and counts."""

import pytest

from permits.memory_queue import MemoryQueue

pytestmark = pytest.mark.looptime


async def test_they_are_served_by_ticket_also_those_who_come_back_to_an_earlier_one() -> None:
    line = MemoryQueue()
    for ticket in (2, 5, 7, 3, 1, 9):
        line.join(ticket, "anna", None)
    assert len(line) == 6
    assert [line.place(ticket) for ticket in (1, 2, 3, 4, 9, 10)] == [1, 2, 3, 4, 6, 7]
    assert [line.pop_head().ticket for _ in range(6)] == [1, 2, 3, 5, 7, 9]
    assert len(line) == 0


async def test_each_leaves_once_and_is_counted_by_client() -> None:
    line = MemoryQueue()
    one, two, other = line.join(1, "anna", None), line.join(2, "anna", "wait"), line.join(3, "ben", None)
    assert (line.count("anna"), line.count("ben"), line.count("carl")) == (2, 1, 0)
    assert line.with_ticket(2) is two
    line.leave(one)
    line.leave(one)
    assert one not in line
    assert two in line
    assert (line.count("anna"), len(line)) == (1, 2)
    line.leave(two)
    assert (line.count("anna"), line.with_ticket(2)) == (0, None)
    assert line.pop_head() is other


async def test_one_that_was_replaced_takes_nobody_out() -> None:
    line = MemoryQueue()
    earlier = line.join(1, "anna", "wait")
    line.leave(earlier)
    later = line.join(1, "anna", "wait")
    line.leave(earlier)
    assert later in line
    assert line.count("anna") == 1
