"""How much is measured."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeTerms:
    """Amounts of one run.

    Attributes:
        repeats: how often each measurement is taken; the contenders take turns in each.
        connections: how many talk.
        window: requests in flight on each connection where several are.
        texts: text exchanges in one measurement.
        bodies: exchanges of each size of body in one measurement.
        idle: idle connections.
        voices: voice notes in one measurement.
        streamed: replies in pieces in one measurement.
        offered: texts a second in the open loop.
        offered_seconds: how long they are offered.
    """

    repeats: int
    connections: int
    window: int
    texts: int
    bodies: int
    idle: int
    voices: int
    streamed: int
    offered: int
    offered_seconds: float


FULL: Final = ExchangeTerms(
    repeats=5, connections=50, window=10, texts=10_000, bodies=400, idle=5000, voices=40, streamed=400, offered=3000,
    offered_seconds=5,
)  # fmt: skip
QUICK: Final = ExchangeTerms(
    repeats=3, connections=50, window=10, texts=3000, bodies=100, idle=1000, voices=10, streamed=100, offered=3000,
    offered_seconds=1,
)  # fmt: skip
SHORTEST: Final = ExchangeTerms(
    repeats=1,
    connections=2,
    window=2,
    texts=20,
    bodies=2,
    idle=10,
    voices=1,
    streamed=2,
    offered=100,
    offered_seconds=0.2,
)
