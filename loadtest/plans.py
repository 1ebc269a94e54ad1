"""The kinds of runs: shape, duration, and the limits to reach."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHAPES: Final = Path(__file__).parent / "shapes"
GRACE_SECONDS: Final = 75.0
"""How long a run may take beyond its shape: the start of Locust, the last visits, the wait in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One kind of run.

    Attributes:
        name: its name.
        shape: the file that Locust loads; None: its web page says how many users there are.
        seconds: how long the shape takes; None: until Ctrl-C.
        must_reach: the pools whose limit the load is meant to reach.
        typing_seconds: how long the bot types, so that messages are in process for a while on any machine.
        window: requests that one connection may have in flight.
    """

    name: str
    shape: Path | None
    seconds: float | None
    must_reach: tuple[str, ...] = ()
    typing_seconds: float = 1.0
    window: int = 20


PLANS: Final = {
    plan.name: plan
    for plan in (
        Plan(
            name="limits", shape=SHAPES / "limits.py", seconds=95, must_reach=("connections", "messages"),
            typing_seconds=8.0,
        ),
        Plan(name="steady", shape=SHAPES / "steady.py", seconds=300, window=10),
        Plan(name="spike", shape=SHAPES / "spike.py", seconds=95, must_reach=("connections",), typing_seconds=4.0),
        Plan(name="soak", shape=SHAPES / "soak.py", seconds=3600, must_reach=("connections",), typing_seconds=4.0),
        Plan(name="ui", shape=None, seconds=None, typing_seconds=2.0),
    )
}  # fmt: skip
