"""Staying after the work is done, for somebody to fetch what came of it."""

import signal
from typing import Final

GO: Final = (signal.SIGINT, signal.SIGTERM)


def linger(seconds: float, why: str) -> None:
    """Say so and wait; go when told to, as no signal ends the first process of a container that does not take it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, GO)
    print(f"staying for {seconds:g} s, {why}", flush=True)
    signal.sigtimedwait(GO, seconds)
