"""What all measurements of one run have in common."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.valkey import ValkeyDatabase

GC_THRESHOLDS = (2_000, 500, 20)  # as in the services, so that the number of objects does not matter


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitTerms:
    """How much is measured.

    Attributes:
        repeats: how often each measurement is taken; the contenders take turns, so that a slow moment of the machine
            does not hit one of them only.
        seconds: how long one takes.
        tasks: for acquire and release: how many tasks at the same time.
        handoffs: how many in one repetition.
    """

    repeats: int
    seconds: float
    tasks: tuple[int, ...]
    handoffs: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmark.

    Attributes:
        valkey: the store of all contenders.
        terms: how much is measured.
        step: told what was measured just now, once for each repetition of each contender.
    """

    valkey: ValkeyDatabase
    terms: PermitTerms
    step: Callable[[str], None]
