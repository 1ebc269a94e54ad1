"""Checks that clients were served first come, first served, by the tickets in the store and by the clients' times."""

from collections.abc import Iterator

from frameproto.denials import DenialCode
from loadtest.client_log import Visit
from loadtest.monitor import POOLS, PoolSample
from loadtest.recording import RunRecording

SLACK_SECONDS = 1.0
"""How much later a client must have arrived, and how much earlier been admitted, to count as overtaking. Pods and
clients share few processors, and a pod that is not scheduled for a moment passes its arrivals to the store later."""


def meaningful_samples(recording: RunRecording) -> list[PoolSample]:
    """Return the samples with permits held and clients in the queue."""
    return [
        sample
        for pool in POOLS
        for sample in recording.samples_of(pool)
        if sample.newest_held and sample.oldest_waiting and not sample.learning and not recording.disturbed(sample.at)
    ]


def tickets_out_of_turn(recording: RunRecording) -> list[str]:
    """Return the samples in which a holder had a higher ticket than a waiter."""
    return [
        f"ticket {sample.newest_held} of {sample.pool} was served while {sample.oldest_waiting} still waited"
        for sample in meaningful_samples(recording)
        if sample.newest_held > sample.oldest_waiting
    ]


def comparable_visits(recording: RunRecording) -> list[Visit]:
    """Return the visits that were admitted or timed out in the queue, in order of arrival."""
    told = (
        visit
        for visit in recording.clients.visits.values()
        if (visit.entrance == "let_in" or visit.code == DenialCode.CLUSTER_FULL)
        and not recording.disturbed(visit.asked_at, visit.answered_at)
    )
    return sorted(told, key=lambda visit: visit.asked_at)


def arrivals_out_of_turn(recording: RunRecording) -> list[str]:
    """Return visits that were admitted clearly before others that had arrived clearly earlier."""
    return list(_overtakings(recording))


def _overtakings(recording: RunRecording) -> Iterator[str]:
    visits = comparable_visits(recording)
    slowest: Visit | None = None
    earlier = 0
    for visit in visits:
        slack_seconds = SLACK_SECONDS + recording.longest_delay(visit.asked_at, visit.answered_at)
        while visits[earlier].asked_at < visit.asked_at - slack_seconds:
            if slowest is None or visits[earlier].answered_at > slowest.answered_at:
                slowest = visits[earlier]
            earlier += 1
        if visit.entrance != "let_in" or slowest is None:
            continue
        if visit.answered_at < slowest.answered_at - slack_seconds:
            yield (
                f"{visit.client} came {visit.asked_at - slowest.asked_at:.1f} s after {slowest.client}, "
                f"and was let in {slowest.answered_at - visit.answered_at:.1f} s before that one was answered"
            )
