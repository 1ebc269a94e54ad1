"""Repeated measurements and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One quantity, measured several times.

    Attributes:
        values: one for each repetition, in the order of measuring.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value in the middle."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half of the way from the lowest to the highest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {"median": self.median, "low": min(self.values), "high": max(self.values), "values": list(self.values)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
