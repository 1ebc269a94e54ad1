"""Past both limits in under two minutes: ramp, hold, come down."""

from typing import ClassVar

from loadtest.stages import Stage, Stages
from loadtest.users import Chatter, Rusher, Wanderer


class Limits(Stages):
    """40 users fit in; 120 do not, and half of them want 20 messages at once each."""

    who: ClassVar = [Chatter, Rusher, Wanderer]
    stages = (Stage(15, 40, 4), Stage(70, 120, 6), Stage(85, 30, 6), Stage(95, 0, 6))
