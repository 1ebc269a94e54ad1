"""An hour at the limits, in waves; what leaks or drifts shows."""

import os
from typing import ClassVar

from loadtest.stages import Stage, Stages
from loadtest.users import Chatter, Reporter, Rusher, Wanderer

WAVE_SECONDS = 120
SECONDS = float(os.environ.get("LOADTEST_SOAK_SECONDS", "3600"))
WAVES = max(1, int(SECONDS // WAVE_SECONDS))


class Soak(Stages):
    """Between 40 and 80 users, two minutes a wave; LOADTEST_SOAK_SECONDS (3600) says for how long."""

    who: ClassVar = [Chatter, Reporter, Rusher, Wanderer]
    stages = (
        *(Stage((wave + 1) * WAVE_SECONDS, 40 if wave % 2 else 80, 4) for wave in range(WAVES)),
        Stage(WAVES * WAVE_SECONDS + 15, 0, 6),
    )
