"""How long the relay pauses after a failure."""

import pytest

from chat_service.delivery import DeliveryDenied, DeliveryFailed
from chat_service.pauses import Pauses
from servicekit.tasks import FullJitterBackoff

PAUSES = Pauses(FullJitterBackoff(0.5, 10.0, lambda: 1.0), denied_seconds=60.0)


@pytest.mark.parametrize(
    ("asked", "failures", "is_hurried", "is_halving", "seconds"),
    [
        (0, 1, False, False, 0.5),
        (0, 3, False, False, 2),
        (0, 9, False, False, 10),
        (0, 3, True, False, 0.5),
        (0, 3, False, True, 0.5),
        (7, 1, False, False, 7),
        (7, 9, False, False, 10),
        (7, 3, False, True, 7),
        (7, 3, True, False, 0.5),
        (99, 1, False, False, 10),
    ],
)
def test_pauses_grow_and_history_may_ask_for_longer_ones(
    asked: float, failures: int, is_hurried: bool, is_halving: bool, seconds: float
) -> None:
    failed = DeliveryFailed("503", retry_after_seconds=asked)
    assert PAUSES.after(failed, failures, is_hurried=is_hurried, is_halving=is_halving) == seconds


def test_a_bug_of_ours_asks_for_nothing_and_a_denied_token_has_its_own_pause() -> None:
    assert PAUSES.after(KeyError("a"), 1, is_hurried=False, is_halving=False) == 0.5
    assert PAUSES.after(DeliveryDenied("401"), 1, is_hurried=True, is_halving=True) == 60
