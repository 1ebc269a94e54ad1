"""One answer to each message that has an id: the last attempt counts, whatever comes when, in every store."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from frameproto.history import Direction, InsertResult
from history_service.model import MessageId, Session, StoredExchange, rank_of_claim
from history_service.stores.base import MessageStore
from tests.contract.stores import NOON, begin, bind, kept, message_count

STORED, DUPLICATE, SUPERSEDED = InsertResult.STORED, InsertResult.DUPLICATE, InsertResult.SUPERSEDED


def attempts(session: Session, count: int, message_id: UUID | None = None) -> list[StoredExchange]:
    """Return answers to one message by its attempts."""
    message_id = message_id or uuid4()
    return [
        kept(session.id, f"answer {attempt}", client_id=session.client_id, message_id=message_id, attempt=attempt)
        for attempt in range(1, count + 1)
    ]


async def exchanges_of(store: MessageStore, session: Session) -> list[StoredExchange]:
    return await store.exchanges.page(session, start=None, backward=False, limit=200)


async def test_the_later_answer_takes_the_place_of_the_earlier_one(store: MessageStore) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    assert await store.exchanges.add([first]) == [STORED]
    assert await store.exchanges.add([second]) == [STORED]
    assert await exchanges_of(store, session) == [second]
    assert await store.exchanges.find(first.id, client_id="anna") is None
    assert await message_count(store, session) == 2


async def test_an_earlier_answer_that_comes_later_is_superseded(store: MessageStore) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([second])
    assert await store.exchanges.add([first]) == [SUPERSEDED]
    assert await exchanges_of(store, session) == [second]


@pytest.mark.parametrize("batches", [1, 2, 6])
async def test_any_order_and_repetition_leave_the_last_attempt(store: MessageStore, batches: int) -> None:
    for order in permutations(range(3)):
        session = await begin(store)
        answers = attempts(session, 3)
        delivered = [answers[attempt] for attempt in order] * 2
        for start in range(batches):
            await store.exchanges.add(delivered[start::batches])
        assert await exchanges_of(store, session) == [answers[2]]
        assert await message_count(store, session) == 2
        assert set(await store.exchanges.add(answers)) == {SUPERSEDED, DUPLICATE}


async def test_attempts_that_are_delivered_at_once_leave_the_last_one(store: MessageStore) -> None:
    session = await begin(store)
    noise = random.Random(7)
    messages = [attempts(session, 4) for _ in range(5)]
    relays = [[noise.choice(answers) for answers in messages for _ in range(2)] for _ in range(6)]
    relays.append([answers[-1] for answers in messages])
    for relay in relays:
        noise.shuffle(relay)
    outcomes = await asyncio.gather(*(store.exchanges.add(relay) for relay in relays))
    assert {outcome for each in outcomes for outcome in each} >= {STORED}
    wanted = sorted((answers[-1] for answers in messages), key=lambda answer: answer.id)
    assert await exchanges_of(store, session) == wanted


async def test_of_two_answers_of_one_attempt_the_higher_id_counts(store: MessageStore) -> None:
    session = await begin(store)
    lower, higher = sorted((replace(each, rank=9) for each in attempts(session, 2)), key=lambda each: each.id)
    assert await store.exchanges.add([higher]) == [STORED]
    assert await store.exchanges.add([lower]) == [SUPERSEDED]
    assert await exchanges_of(store, session) == [higher]


async def test_a_message_id_is_its_clients_and_messages_without_one_are_all_kept(store: MessageStore) -> None:
    anna, ben = await begin(store), await begin(store, "ben")
    message_id = uuid4()
    others = [kept(anna.id), kept(anna.id)]
    (mine,), (theirs,) = attempts(anna, 1, message_id), attempts(ben, 1, message_id)
    assert await store.exchanges.add([*others, mine, theirs]) == [STORED] * 4
    assert len(await exchanges_of(store, anna)) == 3
    assert await exchanges_of(store, ben) == [theirs]
    assert await store.exchanges.find_answer("ben", message_id) == theirs
    assert await store.exchanges.find_answer("carl", message_id) is None


async def test_followers_hear_of_the_later_answer_and_searches_find_only_that(store: MessageStore) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([first])
    ((position, _),) = await store.exchanges.arrivals(session, after=0, limit=10)
    await store.exchanges.add([second])
    ((later, arrived),) = await store.exchanges.arrivals(session, after=0, limit=10)
    assert (later > position, arrived) == (True, second)
    assert [each.exchange for each in await store.exchanges.search("anna", ["answer"], before=None, limit=9)] == [
        second
    ]
    assert await store.exchanges.search("anna", ["1"], before=None, limit=9) == []


async def test_a_later_answer_may_stand_in_another_session(store: MessageStore) -> None:
    old, new = await begin(store), await begin(store)
    first, second = attempts(old, 2)
    second = replace(second, session_id=new.id)
    await store.exchanges.add([first])
    await store.exchanges.add([second])
    assert await exchanges_of(store, old) == []
    assert await exchanges_of(store, new) == [second]
    assert await message_count(store, old) == 0


async def test_media_of_the_earlier_answer_are_written_down_for_erasure(store: MessageStore) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([first])
    assert await store.erasures.pending() == []
    await store.exchanges.add([second])
    (erasure,) = await store.erasures.pending()
    assert set(erasure.keys) == first.media_keys()
    assert erasure.message is not None
    assert erasure.message.exchange_id == first.id
    assert await store.exchanges.media_keys("anna", [first.id, second.id]) == second.media_keys()


@pytest.mark.parametrize("side", list(Direction))
async def test_a_deleted_message_stays_deleted_in_a_later_answer(store: MessageStore, side: Direction) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([first])
    await store.deletions.delete_message("anna", MessageId(first.id, side))
    assert await store.exchanges.add([second]) == [STORED]
    (left,) = await exchanges_of(store, session)
    assert [message.id.direction for message in left.messages()] == [each for each in Direction if each is not side]
    assert left.id == second.id
    assert await message_count(store, session) == 1
    unneeded = {key for erasure in await store.erasures.pending() for key in erasure.keys}
    assert unneeded == (second if side is Direction.REQUEST else first).media_keys()  # the deleted ones went before


async def test_a_message_that_is_wholly_deleted_does_not_come_back(store: MessageStore) -> None:
    session = await begin(store)
    first, second, third = attempts(session, 3)
    await store.exchanges.add([first])
    for side in Direction:
        await store.deletions.delete_message("anna", MessageId(first.id, side))
    assert await store.exchanges.add([third, second]) == [STORED, SUPERSEDED]
    assert await exchanges_of(store, session) == []
    assert await message_count(store, session) == 0


async def test_what_came_before_its_session_was_deleted_or_its_client_erased_is_turned_away(
    store: MessageStore,
) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([first])
    await store.deletions.delete_session("anna", session.id, at=NOON)
    assert await store.exchanges.add([second]) == [InsertResult.ERASED]
    await bind(store, session.id, at=NOON)
    await store.deletions.erase_client("anna", at=NOON)
    assert await store.exchanges.add([first, second]) == [InsertResult.ERASED] * 2
    assert await store.exchanges.find_answer("anna", second.message_id or uuid4()) is None


async def test_a_claim_lifts_an_answer_above_those_of_earlier_attempts(store: MessageStore) -> None:
    session = await begin(store)
    first, second, third = attempts(session, 3)
    await store.exchanges.add([first])
    assert await store.exchanges.claim(first, rank=rank_of_claim(3))
    assert await store.exchanges.add([second]) == [SUPERSEDED]
    assert await exchanges_of(store, session) == [replace(first, rank=rank_of_claim(3))]
    assert await store.exchanges.add([first]) == [DUPLICATE]
    assert await store.exchanges.add([third]) == [STORED]  # the claim came to nothing, and the bot was asked
    assert await exchanges_of(store, session) == [third]


async def test_a_claim_lowers_nothing_and_needs_a_reply(store: MessageStore) -> None:
    session = await begin(store)
    first, second = attempts(session, 2)
    await store.exchanges.add([second])
    assert await store.exchanges.claim(second, rank=rank_of_claim(1))
    assert await store.exchanges.add([first]) == [SUPERSEDED]
    assert not await store.exchanges.claim(first, rank=rank_of_claim(9))
    await store.deletions.delete_message("anna", MessageId(second.id, Direction.REPLY))
    assert not await store.exchanges.claim(second, rank=rank_of_claim(9))


async def test_claims_and_deliveries_at_once_leave_what_was_handed_out_last(store: MessageStore) -> None:
    """Each claim is answered by what history has then; no answer of an attempt before the claim may replace it."""
    for number in range(8):
        session = await begin(store)
        answers = attempts(session, 4)
        await store.exchanges.add([answers[0]])
        handed_out, _ = await asyncio.gather(
            claim(store, answers[0], attempt=5), deliver(store, answers, random.Random(number))
        )
        assert [each.id for each in await exchanges_of(store, session)] == [handed_out]


async def claim(store: MessageStore, answer: StoredExchange, *, attempt: int) -> UUID:
    assert answer.message_id is not None
    for _ in range(10):
        found = await store.exchanges.find_answer("anna", answer.message_id)
        assert found is not None
        if await store.exchanges.claim(found, rank=rank_of_claim(attempt)):
            return found.id
    raise AssertionError("it is replaced again and again")


async def deliver(store: MessageStore, answers: Sequence[StoredExchange], noise: random.Random) -> None:
    for answer in noise.sample(answers, len(answers)):
        await store.exchanges.add([answer])
