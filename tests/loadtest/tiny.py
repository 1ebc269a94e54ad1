"""A shape for tests: a few seconds, more clients than places, most of them in a hurry."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Rusher, Wanderer

Rusher.messages_a_visit = 6, 12


class Tiny(Stages):
    who: ClassVar = [Rusher, Wanderer]
    stages = (LoadStage(1, 8, 8), LoadStage(10, 14, 8), LoadStage(11, 0, 14))
