"""An hour at the limits, in waves, to show leaks and drift."""

import os
from math import ceil
from typing import ClassVar

from loadtest.stages import LoadStage, Stages
from loadtest.users import Chatter, Reporter, Resender, Rusher, Wanderer

WAVE_SECONDS = 120
SECONDS = float(os.environ.get("LOADTEST_SOAK_SECONDS", "3600"))
LEAVING_SECONDS = 15
BUSY_SECONDS = max(SECONDS - LEAVING_SECONDS, 1)
WAVES = ceil(BUSY_SECONDS / WAVE_SECONDS)


class Soak(Stages):
    """Between 40 and 80 users, two minutes a wave; LOADTEST_SOAK_SECONDS (3600) says for how long."""

    who: ClassVar = [Chatter, Reporter, Resender, Rusher, Wanderer]
    stages = (
        *(LoadStage(min((wave + 1) * WAVE_SECONDS, BUSY_SECONDS), 40 if wave % 2 else 80, 4) for wave in range(WAVES)),
        LoadStage(BUSY_SECONDS + LEAVING_SECONDS, 0, 6),
    )
