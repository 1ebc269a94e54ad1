"""Deferred records that have failed, and what tells a record that makes history fail from an outage."""

from dataclasses import dataclass

from chat_service.delivery import DeliveryFault
from chat_service.outbox import Key, OutboxError


@dataclass(slots=True)
class FailedRecord:
    """A deferred record that has failed.

    Attributes:
        delivered: how many records history had taken when this one failed last.
        tries: how often it has failed since it was deferred.
        faults: how often history answered by a fault, though it had taken others since the failure before.
        is_undeliverable: it failed during the flush that goes on, and not because of an outage.
    """

    delivered: int
    tries: int = 0
    faults: int = 0
    is_undeliverable: bool = False

    def fail(self, failed: Exception, delivered: int) -> None:
        """Count one more failure, now that history has taken so many records."""
        self.tries += 1
        others_taken = delivered > self.delivered
        self.delivered = delivered
        self.faults += others_taken and isinstance(failed, DeliveryFault)
        self.is_undeliverable = others_taken or self.faults > 0 or isinstance(failed, OutboxError)


class FailedRecords:
    """All deferred records that have failed, by their keys."""

    def __init__(self) -> None:
        self._records: dict[Key, FailedRecord] = {}

    def begin(self, key: Key, delivered: int) -> None:
        """Add a record that was just deferred, after history has taken so many others."""
        self._records[key] = FailedRecord(delivered)

    def fail(self, key: Key, failed: Exception, delivered: int) -> FailedRecord:
        """Count a failure of a deferred record."""
        record = self._records.setdefault(key, FailedRecord(delivered))
        record.fail(failed, delivered)
        return record

    def faults(self, key: Key) -> int:
        """Return how often history answered a record by a fault, though it had taken others."""
        return self._records[key].faults

    def discard(self, key: Key) -> None:
        """Forget a record that was delivered or dead-lettered."""
        self._records.pop(key, None)

    def begin_flush(self) -> None:
        """Count no record as undeliverable until it fails again."""
        for record in self._records.values():
            record.is_undeliverable = False

    @property
    def undeliverable(self) -> int:
        """How many have failed since the flush began, and not because of an outage."""
        return sum(record.is_undeliverable for record in self._records.values())
