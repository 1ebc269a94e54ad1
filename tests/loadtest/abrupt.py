"""A shape for tests that ends while everybody is in the middle of things."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Resender, Rusher, Wanderer

# Short visits: who dropped a connection waits for a slot behind the others, and is to send again before the end.
Resender.messages_a_visit = 4, 8
Rusher.messages_a_visit = 4, 8


class Abrupt(Stages):
    who: ClassVar = [Resender, Rusher, Wanderer]
    stages = (LoadStage(20, 10, 5),)
