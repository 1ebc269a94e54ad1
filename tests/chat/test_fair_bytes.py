"""The byte budget of a pod: fair by client, texts never behind media, nothing leaks."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_service.fair_bytes import Charge, FairByteBudget, Use


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(5):
        await asyncio.sleep(0)


async def acquire(budget: FairByteBudget, client_id: str, size: int, use: Use) -> Charge:
    """Wait for bytes; a wait that is cancelled takes nothing."""
    granted = asyncio.Event()

    def tell(told: Charge) -> None:
        assert told is charge
        assert not granted.is_set(), "a charge is granted once"
        granted.set()

    charge = budget.request(client_id, size, use, tell)
    at_once = charge.is_granted
    try:
        if not at_once:
            await granted.wait()
    except asyncio.CancelledError:
        charge.cancel()
        raise
    assert charge.is_granted
    assert granted.is_set() is not at_once
    return charge


def asked(budget: FairByteBudget, client_id: str, size: int, use: Use = Use.MEDIA) -> "asyncio.Task[Charge]":
    return asyncio.create_task(acquire(budget, client_id, size, use))


async def taken(budget: FairByteBudget, client_id: str, size: int, use: Use = Use.MEDIA) -> Charge:
    """Take bytes that must be free at once."""
    task = asked(budget, client_id, size, use)
    await settle()
    assert task.done(), f"{client_id} waits for {size} bytes with {budget.used} held"
    return task.result()


@pytest.mark.parametrize(("limit", "texts"), [(0, 0), (10, 10), (10, -1)])
def test_sizes_that_do_not_fit_together_are_refused(limit: int, texts: int) -> None:
    with pytest.raises(ValueError, match="must be less than"):
        FairByteBudget(limit, text_bytes=texts)


@pytest.mark.parametrize("clients", [1, 2, 5, 9])
async def test_however_many_are_greedy_one_more_part_is_free(clients: int) -> None:
    budget = FairByteBudget(1000, text_bytes=0)
    tasks = [asked(budget, f"client-{number % clients}", 10) for number in range(clients * 100)]
    await settle()
    part = 1000 // (clients + 1)
    assert budget.used == pytest.approx(clients * part, abs=10 * clients)
    await taken(budget, "newcomer", part)
    for task in tasks:
        task.cancel()


async def test_a_client_that_holds_nothing_needs_no_part_but_room() -> None:
    budget = FairByteBudget(1000, text_bytes=0)
    await taken(budget, "anna", 300)
    await taken(budget, "ben", 600)


async def test_the_client_that_holds_least_is_served_first() -> None:
    budget = FairByteBudget(1000, text_bytes=0)
    first = await taken(budget, "anna", 400)
    await taken(budget, "anna", 50)
    await taken(budget, "ben", 500)
    more_of_anna, more_of_ben = asked(budget, "anna", 100), asked(budget, "ben", 100)
    newcomer = asked(budget, "clara", 300)
    await settle()
    first.resize(0)
    await settle()
    assert newcomer.done()
    assert not more_of_ben.done()
    assert not more_of_anna.done()
    newcomer.result().resize(0)
    await settle()
    assert more_of_anna.done()
    assert not more_of_ben.done()
    more_of_ben.cancel()


async def test_small_messages_do_not_starve_a_large_one() -> None:
    budget = FairByteBudget(1000, text_bytes=0)
    small = [await taken(budget, "anna", 50) for _ in range(10)]
    large = asked(budget, "ben", 600)
    await settle()
    others = [asked(budget, "clara", 50) for _ in range(10)]
    for charge in small:
        charge.resize(0)
        await settle()
    assert large.done()
    for task in others:
        task.cancel()


async def test_texts_have_bytes_of_their_own_and_may_take_what_media_leave() -> None:
    budget = FairByteBudget(1000, text_bytes=200)
    media = [await taken(budget, f"client-{number}", 200) for number in range(4)]
    waiting = asked(budget, "client-4", 1)
    texts = [await taken(budget, f"client-{number}", 20, Use.TEXT) for number in range(10)]
    assert not waiting.done()
    media[0].resize(0)
    await settle()
    assert waiting.done()
    texts.append(await taken(budget, "client-0", 80, Use.TEXT))
    for charge in texts:
        charge.resize(0)
    await taken(budget, "client-5", 199)


async def test_texts_that_end_make_room_for_media() -> None:
    budget = FairByteBudget(1000, text_bytes=100)
    text = await taken(budget, "anna", 400, Use.TEXT)
    media = asked(budget, "ben", 800)
    await settle()
    assert (media.done(), budget.waiting) == (True, 0)  # it is alone in its use; nothing else could make room for it
    media.result().resize(500)
    more = asked(budget, "clara", 300)
    await settle()
    assert not more.done()
    text.resize(0)
    await settle()
    assert more.done()


async def test_a_message_larger_than_everything_is_let_through_alone() -> None:
    budget = FairByteBudget(100, text_bytes=10)
    small = await taken(budget, "anna", 20)
    huge = asked(budget, "ben", 500)
    await settle()
    assert not huge.done()
    small.resize(0)
    await settle()
    assert huge.done()


async def test_replies_are_charged_without_asking() -> None:
    budget = FairByteBudget(100, text_bytes=10)
    charge = await taken(budget, "anna", 20)
    charge.resize(400)
    assert budget.used == 400
    waiting = asked(budget, "ben", 1)
    await settle()
    assert not waiting.done()
    charge.resize(0)
    await settle()
    assert waiting.done()


async def test_a_wait_that_is_cancelled_takes_nothing_and_holds_up_nobody() -> None:
    budget = FairByteBudget(100, text_bytes=0)
    held = await taken(budget, "anna", 90)
    large, small = asked(budget, "ben", 80), asked(budget, "clara", 10)
    await settle()
    assert not small.done()
    large.cancel()
    await settle()
    assert small.done()
    granted_and_cancelled = asked(budget, "dora", 60)
    await settle()
    held.resize(0)
    granted_and_cancelled.cancel()
    await settle()
    assert granted_and_cancelled.cancelled()
    assert (budget.used, budget.waiting) == (10, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["anna", "ben", "clara"]),
            st.sampled_from(list(Use)),
            st.integers(0, 150),
            st.sampled_from(["ask", "cancel", "end"]),
        ),
        max_size=60,
    )
)
def test_nothing_leaks_and_everybody_is_served(steps: list[tuple[str, Use, int, str]]) -> None:
    async def run() -> None:
        budget = FairByteBudget(100, text_bytes=20)
        tasks: list[asyncio.Task[Charge]] = []
        for client_id, use, size, act in steps:
            if act == "ask" or not tasks:
                tasks.append(asked(budget, client_id, size, use))
            elif (task := tasks[size % len(tasks)]).done():
                tasks.remove(task)
                task.result().resize(0)
            elif act == "cancel":
                tasks.remove(task)
                task.cancel()
            if size % 2:
                await settle()
        await settle()
        while tasks:
            done = [task for task in tasks if task.done()]
            assert done, "nothing is held, and somebody waits"
            for task in done:
                tasks.remove(task)
                task.result().resize(0)
            await settle()
        assert (budget.used, budget.waiting) == (0, 0)

    asyncio.run(run())
