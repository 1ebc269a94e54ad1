"""What tells a record that makes history fail from an outage."""

from chat_service.delivery import DeliveryFault, DeliveryInterrupted
from chat_service.failed_records import FailedRecords
from chat_service.outbox import OutboxUnwritable
from chat_service.outbox.records import RecordName

FAULT, INTERRUPTED, UNWRITABLE = DeliveryFault("500"), DeliveryInterrupted("503"), OutboxUnwritable("the disk is full")
KEY, OTHER = RecordName(1, 5), RecordName(2, 5)


def test_a_fault_is_a_strike_when_history_took_others_since_the_failure_before() -> None:
    failed_records = FailedRecords()
    failed_records.begin(KEY, 3)
    seen = []
    for failed, delivered in ((FAULT, 3), (FAULT, 4), (FAULT, 4), (INTERRUPTED, 5), (FAULT, 6)):
        record = failed_records.fail(KEY, failed, delivered)
        seen.append((record.tries, failed_records.faults(KEY), record.is_undeliverable))
    assert seen == [(1, 0, False), (2, 1, True), (3, 1, True), (4, 1, True), (5, 2, True)]


def test_one_is_hopeless_that_failed_in_this_flush_and_not_because_of_an_outage() -> None:
    failed_records = FailedRecords()
    failed_records.begin(KEY, 3)
    assert failed_records.undeliverable == 0
    assert failed_records.fail(KEY, INTERRUPTED, 4).is_undeliverable, "others were taken"
    assert failed_records.fail(OTHER, UNWRITABLE, 4).is_undeliverable, "it is our own disk"
    assert failed_records.undeliverable == 2
    failed_records.begin_flush()
    assert failed_records.undeliverable == 0
    assert not failed_records.fail(KEY, FAULT, 4).is_undeliverable, "it may be an outage"
    failed_records.fail(OTHER, UNWRITABLE, 4)
    assert failed_records.undeliverable == 1
    failed_records.discard(OTHER)
    failed_records.discard(OTHER)
    assert failed_records.undeliverable == 0
    assert failed_records.fail(OTHER, FAULT, 5).tries == 1, "it was forgotten"
