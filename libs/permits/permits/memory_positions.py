"""Positions in the queue of a `MemoryPool` that are kept for their wait ids."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SavedPosition:
    """A kept position in the queue.

    Attributes:
        ticket: its ticket.
        since: when it was taken, in event loop time.
        kept_until: when it is dropped, in event loop time.
    """

    ticket: int
    since: float
    kept_until: float


class SavedPositions:
    """Kept positions by client id and wait id."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str], SavedPosition] = OrderedDict()

    def find(self, client_id: str, wait_id: str | None, now: float) -> SavedPosition | None:
        """Return the kept position, unless it has expired."""
        place = None if wait_id is None else self._places.get((client_id, wait_id))
        return place if place is not None and place.kept_until > now else None

    def keep(self, client_id: str, wait_id: str, place: SavedPosition, *, most: int, now: float) -> None:
        """Keep a position. Expired ones are dropped, and the oldest when there are more than `most`."""
        self.drop(client_id, wait_id)
        self._places[client_id, wait_id] = place
        while len(self._places) > most or next(iter(self._places.values())).kept_until <= now:
            self._places.popitem(last=False)

    def drop(self, client_id: str, wait_id: str | None) -> None:
        """Drop a position."""
        if wait_id is not None:
            self._places.pop((client_id, wait_id), None)
