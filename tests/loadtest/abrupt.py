"""A shape for tests that ends while everybody is in the middle of things."""

from typing import ClassVar

from loadtest.stages import Stage, Stages
from loadtest.users import Rusher, Wanderer


class Abrupt(Stages):
    who: ClassVar = [Rusher, Wanderer]
    stages = (Stage(10, 10, 5),)
