"""What tells a record that makes history fail from an outage."""

from chat_service.delivery import DeliveryFault, DeliveryInterrupted
from chat_service.outbox import OutboxUnwritable
from chat_service.outbox.records import RecordName
from chat_service.suspects import Suspects

FAULT, INTERRUPTED, UNWRITABLE = DeliveryFault("500"), DeliveryInterrupted("503"), OutboxUnwritable("the disk is full")
KEY, OTHER = RecordName(1, 5), RecordName(2, 5)


def test_a_fault_is_a_strike_when_history_took_others_since_the_failure_before() -> None:
    suspects = Suspects()
    suspects.begin(KEY, 3)
    seen = []
    for failed, delivered in ((FAULT, 3), (FAULT, 4), (FAULT, 4), (INTERRUPTED, 5), (FAULT, 6)):
        suspect = suspects.fail(KEY, failed, delivered)
        seen.append((suspect.tries, suspects.strikes(KEY), suspect.is_hopeless))
    assert seen == [(1, 0, False), (2, 1, True), (3, 1, True), (4, 1, True), (5, 2, True)]


def test_one_is_hopeless_that_failed_in_this_flush_and_not_because_of_an_outage() -> None:
    suspects = Suspects()
    suspects.begin(KEY, 3)
    assert suspects.hopeless == 0
    assert suspects.fail(KEY, INTERRUPTED, 4).is_hopeless, "others were taken"
    assert suspects.fail(OTHER, UNWRITABLE, 4).is_hopeless, "it is our own disk"
    assert suspects.hopeless == 2
    suspects.begin_flush()
    assert suspects.hopeless == 0
    assert not suspects.fail(KEY, FAULT, 4).is_hopeless, "it may be an outage"
    suspects.fail(OTHER, UNWRITABLE, 4)
    assert suspects.hopeless == 1
    suspects.acquit(OTHER)
    suspects.acquit(OTHER)
    assert suspects.hopeless == 0
    assert suspects.fail(OTHER, FAULT, 5).tries == 1, "it was forgotten"
