"""A shape for tests that ends while everybody is in the middle of things."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Resender, Rusher, Wanderer

Resender.messages_a_visit = 4, 8


class Abrupt(Stages):
    who: ClassVar = [Resender, Rusher, Wanderer]
    stages = (LoadStage(10, 10, 5),)
