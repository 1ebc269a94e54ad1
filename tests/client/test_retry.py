"""Whether and when a client connects again: every close code, every denial, and how long it goes on."""

import pytest

from chat_client.errors import ClientError, ConnectionLost, Refused, Unreachable, WrongAnswer
from chat_client.retry import Again, Attempts, Backoff, Stop
from frameproto.connection import CloseCode
from frameproto.denials import TEMPORARY_DENIALS

BACKOFF = Backoff(1.0, 8.0, jitter=lambda: 0.5)
SECONDS = BACKOFF.pause_seconds(1)


def attempts(*, patience_seconds: float = 60.0, can_refresh: bool = True, connected: bool = True) -> Attempts:
    made = Attempts(BACKOFF, patience_seconds, can_refresh=can_refresh)
    if connected:
        made.connected()
    return made


def after(why: ClientError, *, has_work: bool = True, can_refresh: bool = True, connected: bool = True) -> Again | Stop:
    return attempts(can_refresh=can_refresh, connected=connected).after(why, 0.0, has_work=has_work)


LATER = Again(SECONDS)
EXPECTED = {
    CloseCode.GOODBYE: Stop.NEVER,
    CloseCode.GOING_AWAY: LATER,
    CloseCode.PROTOCOL_ERROR: Stop.NEVER,
    CloseCode.NO_STATUS: LATER,
    CloseCode.ABNORMAL: LATER,
    CloseCode.INVALID_TEXT: Stop.NEVER,
    CloseCode.TOO_LARGE: LATER,  # without the message that was too large
    CloseCode.INTERNAL: LATER,
    CloseCode.DRAINING: Again(0.5),  # at once, with jitter
    CloseCode.PERMIT_LOST: LATER,
    CloseCode.IDLE_TIMEOUT: LATER,
    CloseCode.BAD_FRAMES: Stop.NEVER,
    CloseCode.SLOW_CONSUMER: LATER,
    CloseCode.TOKEN_EXPIRED: Again(0.0, fresh_token=True),
}


@pytest.mark.parametrize("code", CloseCode)
def test_each_close_code(code: CloseCode) -> None:
    assert after(ConnectionLost(code)) == EXPECTED[code]


def test_a_close_code_that_is_not_known() -> None:
    assert after(ConnectionLost(4999)) == LATER


@pytest.mark.parametrize("code", [CloseCode.IDLE_TIMEOUT, CloseCode.SLOW_CONSUMER])
def test_a_client_with_nothing_to_say_waits_until_it_has(code: CloseCode) -> None:
    assert after(ConnectionLost(code), has_work=False) is Stop.WHEN_READY


def test_an_expired_token_that_cannot_be_replaced_ends_it() -> None:
    assert after(ConnectionLost(4003), can_refresh=False) is Stop.NEVER


@pytest.mark.parametrize("code", sorted(TEMPORARY_DENIALS))
def test_temporary_denials_are_tried_again_also_at_first(code: str) -> None:
    assert after(Refused(503, code, "later"), connected=False) == LATER
    assert after(Refused(503, code, "later", 8.0)) == Again(9.0)  # a little later than the server said


def test_a_client_whose_place_is_kept_comes_back_to_it_at_once() -> None:
    assert after(Refused(503, "cluster_full", "later", 1.0, 3, 15.0)) == Again(0.5)


@pytest.mark.parametrize(
    ("refused", "step"),
    [
        pytest.param(Refused(502, "", "<h1>Bad Gateway</h1>"), LATER, id="a proxy in trouble"),
        pytest.param(Refused(404, "", "no such page"), Stop.NEVER, id="a proxy that knows nothing"),
        pytest.param(Refused(400, "client_id_malformed", "no"), Stop.NEVER, id="a mistake"),
        pytest.param(Refused(409, "wait_replaced", "no"), Stop.NEVER, id="another took over"),
        pytest.param(Refused(403, "client_not_yours", "no"), Stop.NEVER, id="not allowed"),
        pytest.param(Refused(401, "token_expired", "no"), Again(0.0, fresh_token=True), id="an old token"),
    ],
)
def test_other_denials(refused: Refused, step: Again | Stop) -> None:
    assert after(refused) == step


def test_a_fresh_token_that_is_refused_too_ends_it() -> None:
    tries = attempts()
    assert tries.after(Refused(401, "token_expired", "no"), 0.0, has_work=True) == Again(0.0, fresh_token=True)
    assert tries.after(Refused(401, "token_expired", "no"), 0.0, has_work=True) is Stop.NEVER
    tries.made_progress()
    assert tries.after(Refused(401, "token_expired", "no"), 0.0, has_work=True) == Again(0.0, fresh_token=True)


def test_nobody_there_is_waited_for_only_after_a_first_connection() -> None:
    assert after(Unreachable("gone")) == LATER
    assert after(Unreachable("gone"), connected=False) is Stop.NEVER
    assert after(WrongAnswer("not a chatbot")) is Stop.NEVER


def test_pauses_grow_to_the_longest_one_and_begin_anew_when_it_gets_on() -> None:
    tries = attempts()
    lost = ConnectionLost(1006)
    steps = [tries.after(lost, 0.0, has_work=True) for _ in range(6)]
    assert [step.seconds for step in steps if isinstance(step, Again)] == [0.75, 1.5, 3.0, 6.0, 6.0, 6.0]
    assert tries.failures == 6
    tries.made_progress()
    assert tries.after(lost, 0.0, has_work=True) == LATER


def test_a_server_that_keeps_draining_is_not_hammered() -> None:
    tries = attempts()
    drained = ConnectionLost(CloseCode.DRAINING)
    steps = [tries.after(drained, 0.0, has_work=True) for _ in range(3)]
    assert [step.seconds for step in steps if isinstance(step, Again)] == [0.5, 1.5, 3.0]


def test_jitter_takes_up_to_half_of_a_pause() -> None:
    assert Backoff(1.0, 8.0, jitter=lambda: 0.0).pause_seconds(1) == 1.0
    assert Backoff(1.0, 8.0, jitter=lambda: 0.999).pause_seconds(1) == pytest.approx(0.5, abs=0.01)
    assert 4 <= Backoff(1.0, 8.0).pause_seconds(1000) <= 8


def test_patience_ends() -> None:
    tries = attempts(patience_seconds=10)
    lost = ConnectionLost(1006)
    assert isinstance(tries.after(lost, 100.0, has_work=True), Again)
    assert isinstance(tries.after(lost, 109.9, has_work=True), Again)
    assert tries.after(lost, 110.0, has_work=True) is Stop.GIVE_UP
    tries.made_progress()
    assert isinstance(tries.after(lost, 200.0, has_work=True), Again)
    assert attempts(patience_seconds=0).after(lost, 0.0, has_work=True) is Stop.GIVE_UP
