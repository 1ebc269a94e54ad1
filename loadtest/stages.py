"""A shape of a load test as a list of stages."""

from dataclasses import dataclass
from typing import ClassVar

from locust import LoadTestShape, User

STORM = "storm"
"""The message that makes every user lose its connection at once."""


@dataclass(frozen=True, slots=True)
class LoadStage:
    """One stage: the number of users, and how fast it changes.

    Attributes:
        until: in seconds since the run began.
        users: how many there are in the end.
        per_second: how many come or go in a second.
        storm: whether all connections are cut when the stage begins.
    """

    until: float
    users: int
    per_second: float
    storm: bool = False


class Stages(LoadTestShape):
    """Goes through its stages, one after the other.

    Attributes:
        stages: in order of time.
        who: the classes of users that take part.
    """

    abstract = True
    stages: ClassVar[tuple[LoadStage, ...]] = ()
    who: ClassVar[list[type[User]]] = []
    _begun = 0

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """Return the number of users now; None: the run is over."""
        at = self.get_run_time()
        for number, stage in enumerate(self.stages, start=1):
            if at < stage.until:
                if number > self._begun and stage.storm and self.runner is not None:
                    self.runner.send_message(STORM)
                self._begun = number
                return stage.users, stage.per_second, self.who
        return None
