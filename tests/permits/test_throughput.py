"""What is done for throughput only: how much it takes at a time, and that a pool is as correct without it."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from permits.redis import channel, open_pool, throughput
from permits.redis.channel import open_connection
from permits.redis.lease import Lease
from permits.redis.replies import CallResult
from permits.redis.requests import AcquireRequest, Release
from permits.redis.scripts import Code
from permits.redis.throughput import first_share, split_releases
from tests.permits.conftest import OpenPod
from tests.permits.parts import ask, hold, queue_up, until


def result_of(answers: int) -> CallResult:
    """Return a result with so many answers."""
    result = CallResult(Lease("pod/1.1", lambda _: None))
    result.answers = [
        (AcquireRequest(f"request-{number}", "anna", None), Code.GRANTED, number, 0) for number in range(answers)
    ]
    return result


async def test_many_answers_are_given_in_halves_unless_the_store_has_work_or_something_else_is_to_be_done() -> None:
    many = throughput.MANY_ANSWERS
    assert first_share(result_of(many), busy=False) == many // 2
    assert first_share(result_of(many - 1), busy=False) == 0
    assert first_share(result_of(many), busy=True) == 0
    handed, unserved = result_of(many), result_of(many)
    handed.handed.append(("request", 1))
    unserved.unserved.append(Release("request"))
    assert [first_share(result, busy=False) for result in (handed, unserved)] == [0, 0]


@pytest.mark.parametrize(
    ("releases", "somebody_waits", "sizes"),
    [(8, True, [8]), (9, True, [8, 1]), (24, True, [8, 8, 8]), (24, False, [24]), (0, True, [0])],
)
def test_while_somebody_waits_releases_travel_eight_at_a_time(
    releases: int, somebody_waits: bool, sizes: list[int]
) -> None:
    given = [Release(f"permit-{number}") for number in range(releases)]
    calls, rest = split_releases(given, somebody_waits=somebody_waits)
    assert [*map(len, calls), len(rest)] == sizes
    assert [release for call in [*calls, rest] for release in call] == given


async def test_a_pool_without_all_that_is_as_correct(open_pod: OpenPod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "MANY_ANSWERS", math.inf)
    monkeypatch.setattr(throughput, "FEW_RELEASES", math.inf)
    monkeypatch.setattr(open_pool, "LEAD", ())
    one, two = [await open_pod(capacity=40, per_client=None, lease_seconds=60) for _ in range(2)]
    held = await hold(one, *(f"holder-{number}" for number in range(40)))
    waiting = [(await queue_up(two, f"waiter-{number}"))[0] for number in range(3)]
    for permit in held:
        permit.release()
    tickets = [(await waiter).ticket for waiter in waiting]
    assert tickets == sorted(tickets)
    again = [ask(one, f"again-{number}") for number in range(37)]
    assert all([(await asked).valid() for asked in again])
    assert (await until(two, lambda state: state.held == 40)).waiting == 0


async def test_each_write_of_a_pool_begins_with_a_ping(open_pod: OpenPod, monkeypatch: pytest.MonkeyPatch) -> None:
    first_words: set[bytes] = set()

    async def recorded(redis: "Redis", key: str) -> Any:
        connection: Any = await open_connection(redis, key)
        send = connection.send_packed_command

        async def send_and_record(commands: Sequence[bytes], *, check_health: bool) -> None:
            first_words.add(commands[0])
            await send(commands, check_health=check_health)

        connection.send_packed_command = send_and_record
        return connection

    monkeypatch.setattr(channel, "open_connection", recorded)
    pool = await open_pod()
    (permit,) = await hold(pool, "anna")
    permit.release()
    await until(pool, lambda state: state.held == 0)
    notices = [words for words in first_words if b"SUBSCRIBE" in words]
    assert first_words - set(notices) == {b"*1\r\n$4\r\nPING\r\n"}
