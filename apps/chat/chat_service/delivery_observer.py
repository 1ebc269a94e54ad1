"""What is told and counted of deliveries to history."""

from dataclasses import dataclass
from typing import Protocol


class DeliveryObserver(Protocol):
    """Is told of each delivery."""

    def delivered(self, exchanges: int, refused: int, size_bytes: int, seconds: float) -> None:
        """History has answered: how many it has now, how many it never will; what was sent, and how long that took."""

    def dead_lettered(self) -> None:
        """An exchange was dead-lettered because history fails whenever it comes."""

    def failed(self, *, denied: bool) -> None:
        """A delivery has to be tried again; `denied`: because history does not accept the token."""


class NullObserver:
    """Observes nothing."""

    def delivered(self, exchanges: int, refused: int, size_bytes: int, seconds: float) -> None:
        """See `DeliveryObserver.delivered`."""

    def dead_lettered(self) -> None:
        """See `DeliveryObserver.dead_lettered`."""

    def failed(self, *, denied: bool) -> None:
        """See `DeliveryObserver.failed`."""


@dataclass(slots=True)
class DeliveryStats:
    """What the relay has done so far."""

    delivered: int = 0
    refused: int = 0
    retries: int = 0
    last_error: str = ""
