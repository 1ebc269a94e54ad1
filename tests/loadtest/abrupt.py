"""A shape for tests that ends while everybody is in the middle of things."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Resender, Rusher, Wanderer

# Who dropped a connection waits for a slot behind the others: long enough to tell their order, and not until the end.
Resender.messages_a_visit = 4, 8
Rusher.messages_a_visit = 10, 20


class Abrupt(Stages):
    who: ClassVar = [Resender, Rusher, Wanderer]
    stages = (LoadStage(20, 10, 5),)
