"""How long the relay pauses after a delivery that failed."""

from dataclasses import dataclass

from chat_service.delivery import DeliveryDenied, DeliveryFailed
from servicekit.tasks import FullJitterBackoff


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses between deliveries.

    Attributes:
        retries: after a failure.
        denied_seconds: while history does not accept the token.
    """

    retries: FullJitterBackoff
    denied_seconds: float

    def after(self, failed: Exception, failures: int, *, is_hurried: bool, is_halving: bool) -> float:
        """Return the pause after so many failures in a row, of which this is the last.

        Args:
            failed: what happened; history may ask for a pause of its own, but for none longer than the longest.
            failures: in a row, at least one.
            is_hurried: a flush goes on, which does not wait.
            is_halving: the next attempt sends less, and need not wait either.
        """
        if isinstance(failed, DeliveryDenied):
            return self.denied_seconds
        pause = self.retries.pause_seconds(1 if is_hurried or is_halving else failures)
        asked = failed.retry_after_seconds if isinstance(failed, DeliveryFailed) and not is_hurried else 0.0
        return max(pause, min(asked, self.retries.longest_seconds))
