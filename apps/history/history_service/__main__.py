"""Run one history pod: `python -m history_service`. Settings are environment variables; `--help` lists them.

`python -m history_service adopt-bucket` does not run a pod, see `adopt_bucket.py`.
"""

import gc
import sys

import servicekit.early_stop  # noqa: F401 - handles signals from here on
from history_service import adopt_bucket
from history_service.app import QUIET_LIBRARIES, open_history
from history_service.settings import HistorySettings
from servicekit import logs
from servicekit.runner import run, serve
from servicekit.settings import load


async def main(settings: HistorySettings) -> int:
    """Serve until told to stop; return the exit code."""
    async with open_history(settings) as history:
        return await serve(
            history.listeners(),
            history.drain,
            settings.drain_seconds,
            close_seconds=settings.drain_seconds,  # for requests in flight; the drain itself takes no time
            max_connections=settings.http_max_connections,
        )


if __name__ == "__main__":
    adopting = sys.argv[1:2] == [adopt_bucket.NAME]
    loaded = load(
        HistorySettings,
        [] if adopting else None,
        prog="python -m history_service",
        description="One pod of the history service: stores finished exchanges, and serves messages and media."
        f" With the argument {adopt_bucket.NAME}, make a database the owner of a bucket instead.",
    )
    logs.configure(loaded.log_level, loaded.log_format, quiet=QUIET_LIBRARIES)
    if adopting:
        sys.exit(run(adopt_bucket.adopt(loaded, sys.argv[2:])))
    gc.freeze()  # imported objects are permanent, so the collector skips them
    sys.exit(run(main(loaded)))
