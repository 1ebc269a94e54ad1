"""Deferred records that have failed, and what tells a record that makes history fail from an outage."""

from dataclasses import dataclass

from chat_service.delivery import DeliveryFault
from chat_service.outbox import Key, OutboxError


@dataclass(slots=True)
class Suspect:
    """A deferred record that has failed.

    Attributes:
        delivered: how many records history had taken when this one failed last.
        tries: how often it has failed since it was deferred.
        strikes: how often history answered by a fault, though it had taken others since the failure before.
        is_hopeless: it failed during the flush that goes on, and not because of an outage.
    """

    delivered: int
    tries: int = 0
    strikes: int = 0
    is_hopeless: bool = False

    def fail(self, failed: Exception, delivered: int) -> None:
        """Count one more failure, now that history has taken so many records."""
        self.tries += 1
        others_taken = delivered > self.delivered
        self.delivered = delivered
        self.strikes += others_taken and isinstance(failed, DeliveryFault)
        self.is_hopeless = others_taken or self.strikes > 0 or isinstance(failed, OutboxError)


class Suspects:
    """All deferred records that have failed, by their keys."""

    def __init__(self) -> None:
        self._suspects: dict[Key, Suspect] = {}

    def begin(self, key: Key, delivered: int) -> None:
        """Suspect a record that was just deferred, after history has taken so many others."""
        self._suspects[key] = Suspect(delivered)

    def fail(self, key: Key, failed: Exception, delivered: int) -> Suspect:
        """Count a failure of a deferred record."""
        suspect = self._suspects.setdefault(key, Suspect(delivered))
        suspect.fail(failed, delivered)
        return suspect

    def strikes(self, key: Key) -> int:
        """Return how often history answered a record by a fault, though it had taken others."""
        return self._suspects[key].strikes

    def acquit(self, key: Key) -> None:
        """Forget a record that was delivered or dead-lettered."""
        self._suspects.pop(key, None)

    def begin_flush(self) -> None:
        """Take none for hopeless that has not failed since."""
        for suspect in self._suspects.values():
            suspect.is_hopeless = False

    @property
    def hopeless(self) -> int:
        """How many have failed since the flush began, and not because of an outage."""
        return sum(suspect.is_hopeless for suspect in self._suspects.values())
