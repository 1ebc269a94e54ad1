"""Counters and histograms of one event loop: plain numbers, which a scrape reads.

Those of `prometheus_client` may be counted from any thread. Each of their increments takes a lock and an observation
takes two, which made up a tenth of what a text costs.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric, Sample
from prometheus_client.registry import Collector, CollectorRegistry

NAMESPACE: Final = "chatbot"


class Count:
    """A counter with its labels filled in."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.created = time.time()
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count so many more."""
        self.value += amount


class Distribution:
    """A histogram with its labels filled in. `counts` has one more than there are bounds, for what is above them."""

    __slots__ = ("_bounds", "counts", "created", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.created = time.time()
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


Child = TypeVar("Child", Count, Distribution)


class _Family(Collector, Generic[Child]):
    """A metric with all its children, by their labels. One without labels has one child, which is there at once."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry, make: Callable[[], Child]
    ) -> None:
        self._name = f"{NAMESPACE}_{name}"
        self._help_text = help_text
        self._labelnames = labels
        self._make: Callable[[], Child] = make
        self._children: dict[tuple[str, ...], Child] = {}
        if not labels:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """Return the child with these labels. It is shown at zero from its first call on."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._labelnames):
                raise ValueError(f"{self._name} has the labels {self._labelnames}, and not {values}")
            child = self._children[values] = self._make()
        return child

    def describe(self) -> Iterable[Metric]:
        """Tell the registry which names this takes."""
        return self.collect()

    def _by_labels(self) -> Iterator[tuple[list[str], Child]]:
        for values, child in self._children.items():
            yield [str(value) for value in values], child


class Counter(_Family[Count]):
    """How often something has happened."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> None:
        super().__init__(name, help_text, labels, registry, Count)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return what a scrape shows."""
        family = CounterMetricFamily(self._name, self._help_text, labels=self._labelnames)
        for labels, child in self._by_labels():
            family.add_metric(labels, child.value, child.created)
        return [family]


class Histogram(_Family[Distribution]):
    """How values are distributed over buckets, each of which has an upper bound."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bucket_names = [*map(str, bounds), "+Inf"]
        super().__init__(name, help_text, labels, registry, lambda: Distribution(bounds))

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return what a scrape shows."""
        family = HistogramMetricFamily(self._name, self._help_text, labels=self._labelnames)
        for labels, child in self._by_labels():
            buckets = list(zip(self._bucket_names, accumulate(child.counts), strict=True))
            family.add_metric(labels, buckets, child.sum)
            named = dict(zip(self._labelnames, labels, strict=True))
            family.samples.append(Sample(f"{self._name}_created", named, child.created))
        return [family]
