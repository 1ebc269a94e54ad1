"""Above both limits in under two minutes: ramp up, hold, ramp down."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Chatter, Resender, Rusher, Wanderer

Rusher.weight = 24  # of 32: they alone would have some 750 messages in process, if nothing held them back


class Limits(Stages):
    """40 users fit in; 120 do not, and three of four want 20 messages at once each."""

    who: ClassVar = [Chatter, Resender, Rusher, Wanderer]
    stages = (LoadStage(15, 40, 4), LoadStage(70, 120, 6), LoadStage(85, 30, 6), LoadStage(95, 0, 6))
