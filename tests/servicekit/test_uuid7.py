"""UUIDv7: version and variant, the time inside, and order whatever the clock does."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.uuid7 import IdMint, millisecond, uuid7

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

clocks = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(clocks)
def test_version_variant_and_time(now: datetime) -> None:
    made = IdMint().make(now)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert millisecond(made) == (now - EPOCH) // MILLISECOND


def test_the_example_of_the_standard() -> None:
    """RFC 9562, appendix A.6: 2022-02-22 14:22:22 at UTC-5 is 017F22E2-79B0-7…"""
    made = IdMint().make(datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5))))
    assert str(made).startswith("017f22e2-79b0-7")


@given(st.lists(clocks, min_size=2, max_size=30))
def test_each_id_is_greater_than_the_one_before_whatever_the_clock_does(readings: list[datetime]) -> None:
    mint = IdMint()
    made = [mint.make(now) for now in readings]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert sorted(map(str, made)) == list(map(str, made))
    assert all(one.version == 7 and one.variant == RFC_4122 for one in made)


def test_while_the_clock_stands_still_the_time_inside_does_too() -> None:
    mint = IdMint()
    made = [mint.make(NOON) for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {millisecond(one) for one in made} == {(NOON - EPOCH) // MILLISECOND}


def test_a_clock_that_goes_back_does_not_take_the_ids_along() -> None:
    mint = IdMint()
    first = mint.make(NOON)
    second = mint.make(NOON - timedelta(hours=1))
    assert first < second
    assert millisecond(second) == millisecond(first)
    assert millisecond(mint.make(NOON + MILLISECOND)) == millisecond(first) + 1


@given(st.integers(0, 1 << 47), clocks)
def test_a_mint_goes_on_after_a_moment(reached_ms: int, now: datetime) -> None:
    made = IdMint(after_millisecond=reached_ms).make(now)
    assert millisecond(made) == max(reached_ms, (now - EPOCH) // MILLISECOND)
    assert made.int > IdMint(after_millisecond=reached_ms - 1).make(EPOCH).int if reached_ms else True
    assert (made.version, made.variant) == (7, RFC_4122)


def test_ids_of_one_moment_cannot_be_guessed_from_one_another() -> None:
    mint = IdMint()
    made = [mint.make(NOON).int for _ in range(100)]
    steps = [later - earlier for earlier, later in pairwise(made)]
    assert len(set(steps)) == len(steps)


def test_two_mints_make_different_ids_of_one_moment() -> None:
    assert IdMint().make(NOON) != IdMint().make(NOON)


def test_threads_share_a_mint() -> None:
    mint = IdMint()
    made: list[list[UUID]] = [[] for _ in range(4)]

    def work(mine: list[UUID]) -> None:
        mine.extend(mint.make(NOON) for _ in range(2000))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for mine in made for one in mine}) == 8000
    assert all(mine == sorted(mine) for mine in made)


def test_the_ids_of_a_process_grow() -> None:
    made = [uuid7(NOON), uuid7(NOON), uuid7(NOON - timedelta(days=1)), uuid7(NOON + MILLISECOND)]
    assert made == sorted(set(made))


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        pytest.param(datetime(2026, 6, 1), "aware", id="naive"),  # noqa: DTZ001
        pytest.param(EPOCH - timedelta(microseconds=1), "before 1970", id="a microsecond before the epoch"),
        pytest.param(EPOCH - timedelta(days=400), "before 1970", id="long before the epoch"),
    ],
)
def test_a_moment_that_has_no_id_is_refused(moment: datetime, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IdMint().make(moment)


def test_a_forked_child_does_not_make_the_ids_of_its_parent() -> None:
    program = (
        "import os; from datetime import UTC, datetime; from servicekit.uuid7 import IdMint\n"
        "IdMint().make(datetime.now(UTC))\n"
        "child = os.fork()\n"
        "os.write(1, f'{IdMint().make(datetime(2026, 6, 1, tzinfo=UTC))}\\n'.encode())\n"
        "os.waitpid(child, 0) if child else os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    ids = done.stdout.split()
    assert len(ids) == 2
    assert len(set(ids)) == 2
