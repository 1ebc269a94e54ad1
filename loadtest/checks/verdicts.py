"""The promises of the system, and the verdict of a recording on each."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadtest.checks import limits, loss, order
from loadtest.checks.recovery import recoveries
from loadtest.client_log import ClientExchange
from loadtest.criteria import EXPLAINED_CLOSES, EXPLAINED_DENIALS, EXPLAINED_REFUSALS
from loadtest.metrics import Metric
from loadtest.monitor import POOLS
from loadtest.recording import RunRecording

SHOWN: Final = 5
LATE_SECONDS: Final = 2.0
RECOVERY_LEASES: Final = 3.0


class Judgement(StrEnum):
    """Whether a promise was kept."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """One promise.

    Attributes:
        promise: its name in JSON.
        title: what is promised.
        judgement: whether it was kept.
        detail: the figures behind it, or what went wrong.
    """

    promise: str
    title: str
    judgement: Judgement
    detail: str


def judge(recording: RunRecording) -> list[CheckVerdict]:
    """Return the verdict on each promise, in the order of the report."""
    return [verdict for look_into in PROMISES for verdict in look_into(recording)]


def all_passed(verdicts: Sequence[CheckVerdict]) -> bool:
    """Say whether nothing was broken."""
    return all(verdict.judgement is not Judgement.BROKEN for verdict in verdicts)


def _limits(recording: RunRecording) -> Iterator[CheckVerdict]:
    for pool in POOLS:
        limit: int = getattr(recording.run.limits, pool)
        most = limits.high_water(recording, pool)
        if pool in recording.run.must_reach:
            yield _verdict(
                f"{pool}_reached", f"The limit of {limit} {pool} is reached",
                [] if most >= limit else [f"there were {most} at most, so this run does not show that the limit holds"],
                f"the high-water mark is {most}",
            )  # fmt: skip
        yield _verdict(
            f"{pool}_not_exceeded", f"There are never more than {limit} {pool}",
            [complaint for ask in limits.OBSERVERS for complaint in ask(recording, pool)],
            _most(recording, pool, most), tested=bool(recording.samples_of(pool)),
        )  # fmt: skip


def _most(recording: RunRecording, pool: str, high_water: int) -> str:
    words = f"high-water mark {high_water}, {len(recording.samples_of(pool)):,} looks at the store"
    return f"{words}; clients saw {limits.most_open(recording)} of their own open" if pool == "connections" else words


def _order(recording: RunRecording) -> Iterator[CheckVerdict]:
    samples, waited = order.meaningful_samples(recording), order.comparable_visits(recording)
    yield _verdict(
        "order_of_tickets", "Clients in the queue are served in the order of their tickets",
        order.tickets_out_of_turn(recording),
        f"in {len(samples):,} looks at a queue, no permit had a higher ticket than a client in the queue",
        tested=bool(samples),
    )  # fmt: skip
    yield _verdict(
        "order_of_arrival", "Clients are let in in the order of their arrival",
        order.arrivals_out_of_turn(recording),
        f"of {len(waited):,} clients that waited or were let in, none was overtaken by one that came clearly later",
        tested=any(visit.answered_at - visit.asked_at > order.SLACK_SECONDS for visit in waited),
    )  # fmt: skip


def _served_or_told(recording: RunRecording) -> Iterator[CheckVerdict]:
    visits, exchanges = recording.clients.visits, recording.clients.exchanges
    patience_seconds = recording.run.limits.connect_wait_seconds + LATE_SECONDS
    trouble = [
        f"the handshake of {visit.client} was not answered: {visit.code}"
        for visit in visits.values()
        if visit.entrance == "broken" and not recording.disturbed(visit.asked_at, visit.answered_at)
    ]
    trouble += [
        f"{visit.client} waited in the queue for {visit.answered_at - visit.asked_at:.1f} s"
        for visit in visits.values()
        if visit.answered_at - visit.asked_at
        > patience_seconds + recording.longest_delay(visit.asked_at, visit.answered_at)
        and not recording.disturbed(visit.asked_at, visit.answered_at)
    ]
    trouble += [
        f"{visit.client} had no answer to a {exchange.kind}, and its connection ended with {visit.close_code}"
        for exchange in exchanges
        if exchange.outcome == "unanswered"
        and not (visit := visits[exchange.visit]).by_us
        and visit.close_code not in EXPLAINED_CLOSES
        and not recording.disturbed(exchange.sent_at, exchange.ended_at)
    ]
    told = sum(visit.entrance == "denied" for visit in visits.values())
    let_in = sum(visit.entrance == "let_in" for visit in visits.values())
    yield _verdict(
        "served_or_told", "Every client is served, or gets a reason why not", trouble,
        f"{let_in:,} let in, {told:,} denied; "
        f"{sum(e.outcome == 'answered' for e in exchanges):,} messages answered, "
        f"{sum(e.outcome == 'refused' for e in exchanges):,} refused",
        tested=bool(visits),
    )  # fmt: skip


def _nothing_lost(recording: RunRecording) -> Iterator[CheckVerdict]:
    answered = sum(exchange.outcome == "answered" for exchange in recording.clients.exchanges)
    yield _verdict(
        "nothing_lost", "Every answered exchange is in history, once and in order",
        loss.differences(recording), f"all of {answered:,} answered exchanges; history has {len(recording.stored):,}",
        tested=answered > 0,
    )  # fmt: skip


def _answered_once(recording: RunRecording) -> Iterator[CheckVerdict]:
    named = [exchange for exchange in recording.clients.exchanges if exchange.message_id]
    again = [exchange for exchange in named if exchange.attempts > 1]
    responses = Counter(exchange.message_id for exchange in named if exchange.outcome != "unanswered")
    kept = Counter(exchange.message_id for exchange in recording.stored if exchange.message_id)
    trouble = [f"message {name} had {count} responses" for name, count in responses.items() if count > 1]
    trouble += [f"message {name} is in history {count} times" for name, count in kept.items() if count > 1]
    trouble += [
        f"message {exchange.message_id} was answered, and is not in history"
        for exchange in named
        if exchange.outcome == "answered" and not kept[exchange.message_id]
    ]
    yield _verdict(
        "answered_once", "A message that is sent again is answered once, and in history once", trouble,
        f"{len(again):,} of {len(named):,} messages were sent again, up to"
        f" {max((exchange.attempts for exchange in again), default=1)} times",
        tested=bool(again),
    )  # fmt: skip


def _replies_fit(recording: RunRecording) -> Iterator[CheckVerdict]:
    wrong = [f"{exchange.said or exchange.kind} had the reply to something else" for exchange in
             recording.clients.exchanges if not exchange.fits]  # fmt: skip
    answered = sum(exchange.outcome == "answered" for exchange in recording.clients.exchanges)
    yield _verdict(
        "replies_fit", "Each reply belongs to its message", wrong, f"{answered:,} replies", tested=answered > 0
    )


def _error_budget(recording: RunRecording) -> Iterator[CheckVerdict]:
    exchanges = [e for e in recording.clients.exchanges if not recording.disturbed(e.sent_at, e.ended_at)]
    refused = [exchange for exchange in exchanges if exchange.outcome == "refused"]
    share = len(refused) / len(exchanges) if exchanges else 0.0
    allowed = recording.run.limits.refused_share
    over = [f"{share:.2%} of messages were refused: {_codes(refused)}"] if share > allowed else []
    yield _verdict(
        "error_budget", f"At most {allowed:.0%} of messages are refused", over,
        f"{len(refused):,} of {len(exchanges):,}", tested=bool(exchanges),
    )  # fmt: skip
    yield _verdict(
        "no_unexplained_errors", "No error is unexplained", list(_unexplained(recording)),
        "every denial, refusal and close has a documented code", tested=bool(recording.clients.visits),
    )  # fmt: skip


def _unexplained(recording: RunRecording) -> Iterator[str]:
    for event in recording.clients.unexpected_events:
        yield f"a client failed with {event.met}"
    for exchange in recording.clients.exchanges:
        disturbed = recording.disturbed(exchange.sent_at, exchange.ended_at)
        if exchange.outcome == "refused" and exchange.code not in EXPLAINED_REFUSALS and not disturbed:
            yield f"a {exchange.kind} was refused with {exchange.code}"
    for visit in recording.clients.visits.values():
        disturbed = recording.disturbed(visit.asked_at, visit.answered_at)
        if visit.entrance == "denied" and visit.code not in EXPLAINED_DENIALS and not disturbed:
            yield f"{visit.client} was denied with {visit.status} {visit.code}"
        if visit.left_at is None or visit.ended_at is None or visit.by_us or visit.close_code in EXPLAINED_CLOSES:
            continue
        if not recording.disturbed(visit.left_at, visit.ended_at):
            yield f"the connection of {visit.client} was closed with {visit.close_code}"


def _permits_released(recording: RunRecording) -> Iterator[CheckVerdict]:
    left = [
        f"{sample.held} permits of {pool} are still held, {sample.waiting} wait"
        for pool in POOLS
        for sample in recording.samples_of(pool)[-1:]
        if sample.held or sample.waiting
    ]
    for sample in recording.pods[-1:]:
        left += [
            f"{pod} has {figures[metric]:g} of {metric}"
            for pod, figures in sample.figures.items()
            for metric in (
                Metric.CONNECTIONS_OPEN,
                Metric.MESSAGES_IN_PROCESS,
                Metric.OUTBOX_RECORDS,
                Metric.OUTBOX_REFUSED,
            )
            if figures.get(metric)
        ]
    yield _verdict(
        "given_back", "In the end all permits are released and all exchanges delivered", left,
        "no permit is held, no client waits, every outbox is empty", tested=bool(recording.pools and recording.pods),
    )  # fmt: skip


def _recovery(recording: RunRecording) -> Iterator[CheckVerdict]:
    bound_seconds = RECOVERY_LEASES * recording.run.limits.lease_seconds + recording.run.limits.connect_wait_seconds
    for number, recovery in enumerate(recoveries(recording), start=1):
        slow = recovery.seconds is None or recovery.seconds > bound_seconds
        took = "it did not recover" if recovery.seconds is None else f"it took {recovery.seconds:.1f} s"
        words = f"{recovery.level} clients were connected before; {took} (at most {bound_seconds:g} s)"
        yield _verdict(f"recovery_{number}", f"It recovers from: {recovery.fault}", [words] if slow else [], words)


def _troubles(recording: RunRecording) -> Iterator[CheckVerdict]:
    if recording.run.troubles:
        yield _verdict("run", "The run itself went well", list(recording.run.troubles), "")


PROMISES: Final[tuple[Callable[[RunRecording], Iterator[CheckVerdict]], ...]] = (
    _troubles, _limits, _order, _served_or_told, _nothing_lost, _answered_once, _replies_fit, _error_budget,
    _permits_released, _recovery,
)  # fmt: skip


def _verdict(promise: str, title: str, trouble: Sequence[str], words: str, *, tested: bool = True) -> CheckVerdict:
    if trouble:
        more = f"; and {len(trouble) - SHOWN:,} more" if len(trouble) > SHOWN else ""
        return CheckVerdict(
            promise=promise, title=title, judgement=Judgement.BROKEN, detail="; ".join(trouble[:SHOWN]) + more
        )
    if not tested:
        return CheckVerdict(
            promise=promise, title=title, judgement=Judgement.NOT_TESTED, detail="it did not occur in this run"
        )
    return CheckVerdict(promise=promise, title=title, judgement=Judgement.KEPT, detail=words)


def _codes(exchanges: Sequence[ClientExchange]) -> str:
    codes = sorted({exchange.code for exchange in exchanges})
    return ", ".join(f"{sum(e.code == code for e in exchanges):,} {code}" for code in codes)
