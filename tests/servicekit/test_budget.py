"""The byte budget: first come, first served, and nothing leaks."""

import asyncio
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from servicekit.budget import ByteBudget


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_budget_of_nothing_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        ByteBudget(limit)


async def test_sizes_are_taken_and_given_back() -> None:
    budget = ByteBudget(10)
    await budget.acquire(4)
    await budget.acquire(6)
    assert (budget.used, budget.limit, budget.waiting) == (10, 10, 0)
    budget.release(6)
    assert budget.used == 4


async def test_nothing_counts_as_nothing() -> None:
    budget = ByteBudget(1)
    await budget.acquire(1)
    assert budget.try_acquire(0)
    assert budget.used == 1


@pytest.mark.parametrize("method", ["try_acquire", "release", "charge"])
async def test_negative_sizes_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        getattr(ByteBudget(1), method)(-1)


async def test_a_negative_acquire_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        await ByteBudget(1).acquire(-1)


async def test_giving_back_more_than_is_held_is_a_bug() -> None:
    budget = ByteBudget(10)
    await budget.acquire(3)
    with pytest.raises(ValueError, match="only 3 are held"):
        budget.release(4)
    assert budget.used == 3


@pytest.mark.looptime
async def test_a_waiter_waits_until_there_is_room() -> None:
    budget = ByteBudget(10)
    await budget.acquire(8)
    asyncio.get_running_loop().call_later(5, budget.release, 8)
    await budget.acquire(3)
    assert asyncio.get_running_loop().time() == 5
    assert budget.used == 3


async def test_a_small_one_never_overtakes_a_large_one_that_waits() -> None:
    budget = ByteBudget(10)
    await budget.acquire(8)
    large = asyncio.create_task(budget.acquire(5))
    await settle()
    small = asyncio.create_task(budget.acquire(1))
    await settle()
    assert budget.waiting == 2
    assert not budget.try_acquire(1)
    budget.release(8)
    await asyncio.gather(large, small)
    assert budget.used == 6


async def test_one_larger_than_the_limit_is_let_through_alone() -> None:
    budget = ByteBudget(10)
    await budget.acquire(1)
    huge = asyncio.create_task(budget.acquire(50))
    await settle()
    assert not huge.done()
    budget.release(1)
    await huge
    assert budget.used == 50
    assert not budget.try_acquire(1)
    budget.release(50)
    assert budget.try_acquire(1)


async def test_a_charge_is_never_refused_and_keeps_others_out() -> None:
    budget = ByteBudget(10)
    budget.charge(15)
    assert budget.used == 15
    assert not budget.try_acquire(1)
    budget.release(15)
    assert budget.try_acquire(10)


async def test_a_cancelled_waiter_takes_nothing_and_lets_the_next_in() -> None:
    budget = ByteBudget(10)
    await budget.acquire(8)
    large = asyncio.create_task(budget.acquire(5))
    small = asyncio.create_task(budget.acquire(2))
    await settle()
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await small
    assert (budget.used, budget.waiting) == (10, 0)


async def test_cancelled_at_the_moment_of_the_grant_the_bytes_go_to_the_next() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    first = asyncio.create_task(budget.acquire(10))
    second = asyncio.create_task(budget.acquire(10))
    await settle()
    budget.release(10)  # grants to the first, which has not run yet
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (budget.used, budget.waiting) == (10, 0)


async def test_a_waiter_cancelled_but_not_yet_run_does_not_hold_up_the_line() -> None:
    budget = ByteBudget(10)
    await budget.acquire(10)
    first = asyncio.create_task(budget.acquire(10))
    second = asyncio.create_task(budget.acquire(10))
    await settle()
    first.cancel()
    budget.release(10)
    await second
    assert first.cancelled()
    assert (budget.used, budget.waiting) == (10, 0)


async def test_a_block_gives_back_what_it_held_even_when_it_fails() -> None:
    budget = ByteBudget(10)
    with pytest.raises(LookupError):
        async with budget.held(7):
            assert budget.used == 7
            raise LookupError
    assert budget.used == 0


class BudgetMachine(RuleBasedStateMachine):
    """Random takers, givers and cancellers against a plain model of a line."""

    LIMIT = 20

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.budget = ByteBudget(self.LIMIT)
        self.held: list[int] = []
        self.line: deque[tuple[asyncio.Task[None], int]] = deque()

    def teardown(self) -> None:
        for task, _ in self.line:
            task.cancel()
        self.run_what_can_run()
        self.loop.close()

    def run_what_can_run(self) -> None:
        self.loop.run_until_complete(settle())

    def admit(self) -> None:
        while self.line and (not self.held or sum(self.held) + self.line[0][1] <= self.LIMIT):
            self.held.append(self.line.popleft()[1])

    @rule(size=st.integers(1, 30))
    def acquire(self, size: int) -> None:
        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(self.budget.acquire(size))

        self.line.append((self.loop.run_until_complete(start()), size))
        self.run_what_can_run()
        self.admit()

    @rule(size=st.integers(1, 30))
    def try_acquire(self, size: int) -> None:
        room = not self.line and (not self.held or sum(self.held) + size <= self.LIMIT)
        assert self.budget.try_acquire(size) == room
        if room:
            self.held.append(size)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        size = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.budget.release(size)
        self.admit()
        self.run_what_can_run()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.line) - 1))
        self.line[index][0].cancel()
        del self.line[index]
        self.admit()
        self.run_what_can_run()

    @precondition(lambda self: self.line and self.held)
    @rule()
    def cancel_at_the_moment_of_the_grant(self) -> None:
        head, _ = self.line[0]
        self.budget.release(self.held.pop())
        head.cancel()
        self.line.popleft()
        self.admit()
        self.run_what_can_run()

    @invariant()
    def the_model_agrees(self) -> None:
        assert self.budget.used == sum(self.held)
        assert self.budget.waiting == len(self.line)
        assert all(not task.done() for task, _ in self.line)


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_order_of_events_agrees_with_the_model = BudgetMachine.TestCase


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_everyone_is_served_in_the_order_of_asking(sizes: list[int]) -> None:
    async def main() -> list[int]:
        budget = ByteBudget(16)
        served: list[int] = []

        async def one(place: int, size: int) -> None:
            async with budget.held(size):
                served.append(place)
                assert budget.used <= 16 or budget.used in sizes
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for place, size in enumerate(sizes):
                group.create_task(one(place, size))
        assert (budget.used, budget.waiting) == (0, 0)
        return served

    with asyncio.Runner() as runner:
        assert runner.run(main()) == list(range(len(sizes)))
