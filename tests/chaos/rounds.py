"""How long a chaos goes on, and what its chances depend on."""

import os
import random

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
"""For how long rounds begin; 0: the short form, one round."""
SEED = os.environ.get("CHAOS_SEED") or (str(random.SystemRandom().randrange(10**6)) if SECONDS else "1")
