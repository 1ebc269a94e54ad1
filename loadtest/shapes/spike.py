"""A reconnect storm: everybody loses the connection at the same moment, twice, and comes back at once."""

from typing import ClassVar

from loadtest.stages import Stage, Stages
from loadtest.users import Chatter, Resender, Rusher, Wanderer


class Spike(Stages):
    """45 users fit in; then 150 come within two seconds, and everybody is thrown out twice."""

    who: ClassVar = [Chatter, Resender, Rusher, Wanderer]
    stages = (
        Stage(15, 45, 6),
        Stage(35, 150, 75),
        Stage(50, 150, 75, storm=True),
        Stage(70, 150, 75, storm=True),
        Stage(85, 40, 10),
        Stage(95, 0, 6),
    )
