"""A shape for tests: a few seconds, more clients than places, most of them in a hurry."""

from typing import ClassVar

from loadtest.stages import Stage, Stages
from loadtest.users import Rusher, Wanderer

Rusher.messages_a_visit = 6, 12


class Tiny(Stages):
    who: ClassVar = [Rusher, Wanderer]
    stages = (Stage(1, 8, 8), Stage(10, 14, 8), Stage(11, 0, 14))
