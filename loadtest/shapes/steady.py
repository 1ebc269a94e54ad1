"""Everyday traffic for five minutes, within all limits."""

from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Chatter, Reporter, Wanderer


class Steady(Stages):
    """40 users who think before they write."""

    who: ClassVar = [Chatter, Reporter, Wanderer]
    stages = (LoadStage(285, 40, 2), LoadStage(300, 0, 4))
