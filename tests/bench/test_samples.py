"""What is said of repeated measurements, and who counts as overtaking."""

import math

import pytest

from bench.permits.contended import EventLog
from bench.samples import Sample, percentile


@pytest.mark.parametrize(
    ("values", "median", "spread"),
    [
        pytest.param((5.0,), 5.0, 0.0, id="one"),
        pytest.param((1.0, 9.0, 2.0), 2.0, 2.0, id="the middle one, however far the others are"),
        pytest.param((9.0, 10.0, 11.0), 10.0, 0.1, id="half the range as a share of the median"),
        pytest.param((0.0, 0.0, 0.0), 0.0, 0.0, id="nothing"),
    ],
)
def test_sample(values: tuple[float, ...], median: float, spread: float) -> None:
    sample = Sample(values)
    assert sample.median == median
    assert sample.spread == pytest.approx(spread)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)],
)
def test_percentile(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


@pytest.mark.parametrize(
    ("order", "overtaking"),
    [
        pytest.param([0, 1, 2], 0, id="first come, first served"),
        pytest.param([1, 0, 2], 1, id="one jumps the line"),
        pytest.param([2, 1, 0], 2, id="the last first"),
    ],
)
def test_overtaking_is_a_grant_while_an_earlier_one_waits(order: list[int], overtaking: int) -> None:
    book = EventLog(end=math.inf)
    for _ in order:
        book.arrive()
    for number in order:
        book.grant(number)
    assert (book.grants, book.overtaking, book.waiting) == (len(order), overtaking, {})


def test_what_comes_after_the_end_does_not_count() -> None:
    book = EventLog(end=-math.inf)
    book.grant(book.arrive())
    assert (book.grants, book.overtaking) == (0, 0)


def test_who_still_waits_at_the_end_has_waited_that_long() -> None:
    book = EventLog(end=math.inf)
    book.arrive()
    book.close()
    assert book.longest_wait > 0
