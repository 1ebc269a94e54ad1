"""What is done for throughput only. A pool without this module would be as correct, and slower.

Three things are here. Each can be switched off by its constant, and all of them by removing this file:

- *Answers in halves.* Many tasks that are answered together ask again together, and store and pod would wait for each
  other in turns. `first_share` says how many answers to give before the next call is sent, so that the store works for
  one half while the pod works for the other. Without: give all answers, then send.
- *Releases in several calls.* While requests wait, `split_releases` makes many releases more than one call.
  The first who are handed a permit use it while the store serves the next. Without: one call.
- *A PING in front of each write.* A server that has run what it was sent writes to its clients in reverse: the client
  that had something to be told first is told last. `LEAD` makes the pod that releases the first, so the pod that is
  handed the permit hears of it before the other has its reply. Without: an empty `LEAD`.
"""

from collections.abc import Sequence
from typing import Final

from permits.redis.channel import Command, CommandHead
from permits.redis.replies import CallResult
from permits.redis.requests import Release

MANY_ANSWERS = 16  # in one result: enough to give them in two parts
FEW_RELEASES = 8  # in one call, while requests wait

LEAD: Final[Sequence[Command]] = ((CommandHead("PING"), ()),)
"""Commands in front of each write. Their replies are read and dropped."""


def first_share(result: CallResult, *, busy: bool) -> int:
    """Return how many answers to give before the next call is sent; 0: all of them.

    Args:
        result: what came back. Grants of this pod's own waiters and unserved operations are taken in undivided.
        busy: whether other calls are under way, so that the store has work already.
    """
    many = len(result.answers)
    return 0 if many < MANY_ANSWERS or result.handed or result.unserved or busy else many // 2


def split_releases(releases: list[Release], *, somebody_waits: bool) -> tuple[list[list[Release]], list[Release]]:
    """Return the releases that travel in calls of their own, and those that travel with everything else."""
    calls = []
    if somebody_waits:
        while len(releases) > FEW_RELEASES:
            calls.append(releases[:FEW_RELEASES])
            releases = releases[FEW_RELEASES:]
    return calls, releases
