"""When the capacity of the settings counts, and when the one that an operator set: docs/operations.md, "Scale"."""

from redis.asyncio import Redis

from permits.redis import PoolOperator
from tests.permits.conftest import OpenPod


async def test_pods_with_other_settings_set_the_capacity_and_pods_with_the_same_leave_it(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    first = await open_pod(capacity=3)
    assert (await first.state()).capacity == 3
    await PoolOperator(name, store).set_capacity(7)
    await open_pod(capacity=3)  # a pod that is started anew, or one more
    assert (await first.state()).capacity == 7
    await open_pod(capacity=4)  # the settings have changed
    assert (await first.state()).capacity == 4


async def test_settings_that_say_what_was_set_by_hand_change_nothing(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    first = await open_pod(capacity=3)
    await PoolOperator(name, store).set_capacity(7)
    await open_pod(capacity=7)
    assert (await first.state()).capacity == 7


async def test_what_was_set_before_the_first_pod_holds_until_settings_change(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    operator = PoolOperator(name, store)
    await operator.begin()
    await operator.set_capacity(7)
    first = await open_pod(capacity=3)
    assert (await first.state()).capacity == 7
    await open_pod(capacity=3)
    assert (await first.state()).capacity == 7
    await open_pod(capacity=4)
    assert (await first.state()).capacity == 4
