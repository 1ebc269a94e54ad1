"""Waits after the run, so that the report can be fetched."""

import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def wait_for_fetch(seconds: float, why: str) -> None:
    """Say so and wait, at most this long; a stop signal ends it.

    The first process of a container must handle its signals: it has no default actions.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    print(f"staying for {seconds:g} s, {why}", flush=True)
    signal.sigtimedwait(STOP_SIGNALS, seconds)
