"""Each promise is judged from what was recorded: kept by a sound run, broken by the least thing that breaks it."""

from dataclasses import replace

import pytest

from loadtest.checks.recovery import recoveries
from loadtest.checks.verdicts import Judgement, all_passed, judge
from loadtest.client_log import SchedulingDelay, UnexpectedEvent
from loadtest.metrics import Metric
from loadtest.monitor import POOLS
from loadtest.recording import Fault, RunRecording
from tests.loadtest.recordings import denied, exchange, kept, pods, recording, sample, sound, visit

LATE = SchedulingDelay(at=8, seconds=3)
ANNA = visit("anna", 1, 1.1, 30)
SAID = [exchange("anna", number) for number in range(3)]
NAMED = exchange("anna", 2, message_id="m", attempts=2)
KILL = Fault(at=50, name="kill -9")


def judged(made: RunRecording, judgement: Judgement) -> dict[str, str]:
    return {verdict.promise: verdict.detail for verdict in judge(made) if verdict.judgement is judgement}


def case(name: str, promise: str, complaint: str, made: RunRecording) -> object:
    return pytest.param(promise, complaint, made, id=name)


def test_a_sound_run_keeps_everything() -> None:
    verdicts = judge(sound())
    assert all_passed(verdicts)
    assert {verdict.judgement for verdict in verdicts} == {Judgement.KEPT}


def test_what_was_not_seen_is_not_called_kept() -> None:
    assert set(judged(recording(), Judgement.NOT_TESTED)) == {
        "order_of_tickets", "order_of_arrival", "served_or_told", "nothing_lost", "answered_once", "replies_fit",
        "error_budget", "no_unexplained_errors",
    }  # fmt: skip


def test_a_mark_of_an_earlier_run_is_not_taken_for_this_one() -> None:
    used_before = [sample(at, pool) for at in (1, 90) for pool in POOLS]
    idle = replace(sound(), pools=used_before)
    assert judged(idle, Judgement.BROKEN) == {
        "connections_reached": "there were 0 at most, so this run does not show that the limit holds",
        "messages_reached": "there were 0 at most, so this run does not show that the limit holds",
    }
    busy = replace(sound(), pools=[sample(50, held=2), sample(51, "messages", held=4), *used_before])
    assert judged(busy, Judgement.BROKEN) == {}


@pytest.mark.parametrize(
    ("promise", "complaint", "made"),
    [
        case("mark too high", "connections_not_exceeded", "high-water mark of the store is 3",
             recording(samples=[sample(95, high_water=3)])),
        case("held too many", "messages_not_exceeded", "had 5 held",
             recording(samples=[sample(95, "messages", held=5)])),
        case("another capacity", "messages_not_exceeded", "capacity of 9",
             recording(samples=[sample(95, "messages", capacity=9)])),
        case("pods have too many", "connections_not_exceeded", "the pods together had 3",
             recording(pods_looks=[pods(8), *(pods(at, a={Metric.CONNECTIONS_OPEN: 2}, b={Metric.CONNECTIONS_OPEN: 1})
                                               for at in (9, 10))])),
        case("pods work on too much", "messages_not_exceeded", "the pods together had 8", recording(pods_looks=[
             pods(8), *(pods(at, a={Metric.MESSAGES_IN_PROCESS: 4}, b={Metric.MESSAGES_IN_PROCESS: 4})
                        for at in (9, 10))])),
        case("clients have too many", "connections_not_exceeded", "clients saw 3",
             recording([ANNA, visit("ben", 2, 3, 9), visit("cleo", 2, 4, 9)])),
        case("served out of turn", "order_of_tickets", "ticket 8 of messages was served while 7 still waited",
             recording(samples=[sample(25, "messages", newest_held=8, oldest_waiting=7)])),
        case("overtaken and let in", "order_of_arrival", "ben came 5.0 s after anna",
             recording([visit("anna", 1, 9, 30), visit("ben", 6, 7, 30)])),
        case("overtaken and denied", "order_of_arrival", "ben came 5.0 s after anna",
             recording([denied("anna", 1, 11), visit("ben", 6, 7, 30)])),
        case("not answered", "served_or_told", "the handshake of anna was not answered",
             recording([visit("anna", 1, 2, entrance="broken", code="reset")])),
        case("kept waiting", "served_or_told", "waited in the queue for 14.0 s", recording([visit("anna", 1, 15, 30)])),
        case("hung up on", "served_or_told", "no answer to a text, and its connection ended with 1006",
             recording([visit("anna", 1, 2, 30, by_us=False, close_code=1006)],
                       [exchange("anna", 0, outcome="unanswered")])),
        case("not in history", "nothing_lost", "“hello 2” of session session-anna was answered, and history",
             recording([ANNA], SAID, history=[kept(one) for one in SAID[:2]])),
        case("another reply in history", "nothing_lost", "does not have it so",
             recording([ANNA], SAID, history=[kept(replace(one, reply="other")) for one in SAID])),
        case("twice in history", "nothing_lost", "“hello 0” of session session-anna is in history once too often",
             recording([ANNA], SAID, history=[kept(one) for one in (*SAID, SAID[0])])),
        case("in another order", "nothing_lost", "out of order",
             recording([ANNA], SAID, history=[kept(one) for one in reversed(SAID)])),
        case("never said", "nothing_lost", "“spook” of session session-anna is in history once too often",
             recording([ANNA], SAID, history=[kept(one) for one in (*SAID, exchange("anna", 3, "spook"))])),
        case("two responses", "answered_once", "message m had 2 responses",
             recording([ANNA], [NAMED, replace(NAMED, number=1, said="hello 1")])),
        case("named twice in history", "answered_once", "message m is in history 2 times",
             recording([ANNA], [NAMED], history=[kept(NAMED), kept(replace(NAMED, reply="other"))])),
        case("named and lost", "answered_once", "message m was answered, and is not in history",
             recording([ANNA], [NAMED], history=[])),
        case("the reply to another", "replies_fit", "hello 0 had the reply to something else",
             recording([ANNA], [exchange("anna", 0, fits=False)])),
        case("too many refused", "error_budget", "33.33% of messages were refused: 1 busy",
             recording([ANNA], [*SAID[:2], exchange("anna", 2, outcome="refused", code="busy")])),
        case("refused for no reason", "no_unexplained_errors", "a text was refused with internal",
             recording([ANNA], [exchange("anna", 0, outcome="refused", code="internal")])),
        case("denied for no reason", "no_unexplained_errors", "anna was denied with 503 internal",
             recording([denied("anna", 1, 2, "internal")])),
        case("closed for no reason", "no_unexplained_errors", "the connection of anna was closed with 1011",
             recording([visit("anna", 1, 2, 30, by_us=False, close_code=1011)])),
        case("met something new", "no_unexplained_errors", "a client failed with KeyError",
             recording([ANNA], unexpected_events=[UnexpectedEvent(at=1, met="KeyError: 'x'")])),
        case("still held", "given_back", "permits of connections are still held",
             recording(samples=[sample(99, held=1)])),
        case("not delivered", "given_back", "chat has 2 of chatbot_outbox_records", replace(
             recording(), pods=[pods(99, chat={Metric.OUTBOX_RECORDS: 2})])),
        case("never recovered", "recovery_1", "it did not recover",
             recording([visit("anna", 1, 2, 50.5), visit("ben", 1, 2, 50.5)], faults=[KILL])),
        case("the run failed", "run", "Locust ended", recording(troubles=["Locust ended with exit code 7"])),
    ],
)  # fmt: skip
def test_the_least_thing_breaks_a_promise(promise: str, complaint: str, made: RunRecording) -> None:
    broken = judged(made, Judgement.BROKEN)
    assert complaint in broken[promise]
    assert not all_passed(judge(made))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(recording([visit("anna", 1, 9, 30), visit("ben", 1.8, 7, 30)]), id="came almost together"),
        pytest.param(recording([visit("anna", 1, 9, 30), visit("ben", 6, 8.2, 30)]), id="news a little late"),
        pytest.param(recording([visit("anna", 1, 9, 30), visit("ben", 6, 7, 30)], late=[LATE]),
                     id="overtaken, or the swarm was not run"),
        pytest.param(recording([ANNA], [*SAID[:2], replace(SAID[2], outcome="unanswered")], history=map(kept, SAID)),  # type: ignore[arg-type]
                     id="worked on when the client left"),
        pytest.param(recording([ANNA], [*SAID[:2], NAMED], history=[kept(one) for one in (NAMED, *SAID[:2])]),
                     id="sent again, and answered by what was there"),
        pytest.param(recording([visit("anna", 1, 2, 49, ended_at=50, by_us=False, close_code=1006)],
                               faults=[KILL]), id="cut by a fault"),
        pytest.param(recording([visit("anna", 1, 2, entrance="broken"), visit("ben", 1, 51, entrance="broken")],
                               faults=[Fault(at=0, name="boot"), KILL]), id="turned away by a fault"),
        pytest.param(recording(samples=[sample(51, newest_held=9, oldest_waiting=3)], faults=[KILL]), id="settling"),
        pytest.param(recording(samples=[sample(25, newest_held=9, oldest_waiting=3, learning=True)]), id="learning"),
        pytest.param(recording(pods_looks=[pods(8), *(pods(at, 0.1, a={
            Metric.MESSAGES_IN_PROCESS: 6, Metric.MESSAGES_ANSWERED: 20 * at}) for at in (9, 10))]),
            id="moved between two looks"),
        pytest.param(recording(pods_looks=[pods(8), pods(9, a={Metric.CONNECTIONS_OPEN: 3}), pods(10)]),
                     id="a moment too long"),
    ],
)  # fmt: skip
def test_what_may_happen_on_a_sound_server_is_no_complaint(made: RunRecording) -> None:
    broken = judged(made, Judgement.BROKEN)
    assert {promise for promise in broken if not promise.startswith("recovery")} == set()


def test_a_recovery_is_measured_by_how_many_clients_are_inside() -> None:
    lost = visit("anna", 1, 2, 49, ended_at=50.1, by_us=False, close_code=1006)
    back = visit("ben", 51, 54.1, 90)
    (recovery,) = recoveries(recording([lost, back], faults=[KILL]))
    assert (recovery.fault, recovery.level, recovery.lowest) == ("kill -9", 1, 0)
    assert recovery.seconds == pytest.approx(4.1)


def test_what_was_refused_as_it_was_sent_again_may_be_in_history_by_an_attempt_before() -> None:
    refused = replace(NAMED, outcome="refused", code="busy")
    assert "nothing_lost" not in judged(recording([ANNA], [refused], history=[kept(NAMED)]), Judgement.BROKEN)
    once = replace(refused, attempts=1)
    assert "nothing_lost" in judged(recording([ANNA], [once], history=[kept(NAMED)]), Judgement.BROKEN)
