"""The places in line of the pool of one process to which somebody may come back."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in line.

    Attributes:
        ticket: the number that it was taken with.
        since: when that was, in event loop time.
        kept_until: when it is forgotten, in event loop time.
    """

    ticket: int
    since: float
    kept_until: float


class KeptPlaces:
    """Places by client id and wait id."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str], Place] = OrderedDict()

    def find(self, client_id: str, wait_id: str | None, now: float) -> Place | None:
        """Return the place that these name, unless its time is over."""
        place = None if wait_id is None else self._places.get((client_id, wait_id))
        return place if place is not None and place.kept_until > now else None

    def keep(self, client_id: str, wait_id: str, place: Place, *, most: int, now: float) -> None:
        """Remember a place; the oldest are forgotten when there are more than `most`, and as their time is over."""
        self.drop(client_id, wait_id)
        self._places[client_id, wait_id] = place
        while len(self._places) > most or next(iter(self._places.values())).kept_until <= now:
            self._places.popitem(last=False)

    def drop(self, client_id: str, wait_id: str | None) -> None:
        """Forget a place."""
        if wait_id is not None:
            self._places.pop((client_id, wait_id), None)
