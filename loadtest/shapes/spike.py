"""A reconnect storm: all clients lose their connections at the same moment, twice, and reconnect at once."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Chatter, Resender, Rusher, Wanderer


class Spike(Stages):
    """45 users fit in; then 150 come within two seconds, and everybody is thrown out twice."""

    who: ClassVar = [Chatter, Resender, Rusher, Wanderer]
    stages = (
        LoadStage(15, 45, 6),
        LoadStage(35, 150, 75),
        LoadStage(50, 150, 75, storm=True),
        LoadStage(70, 150, 75, storm=True),
        LoadStage(85, 40, 10),
        LoadStage(95, 0, 6),
    )
