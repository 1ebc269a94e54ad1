"""Every reason has its answer over HTTP, from a handshake and from a preflight alike."""

import pytest

from chat_service.denials import CODES, denial_of, denied, draining, foreseen, pod_full
from frameproto.denials import TEMPORARY_DENIALS, DenialCode
from permits import (
    REASONS,
    ClientLimitReached,
    LineFull,
    Outlook,
    PermitError,
    PermitTimeout,
    PoolClosed,
    PoolLearning,
    PoolUnavailable,
    Reason,
    Verdict,
    WaitReplaced,
)
from servicekit.problems import Problem
from servicekit.tokens import KeysUnavailable, TokenErrorCode

REFUSALS: list[tuple[PermitError, int, str]] = [
    (PermitTimeout(3), 503, "10"),
    (ClientLimitReached(), 429, "10"),
    (LineFull(), 503, "10"),
    (WaitReplaced(), 409, "10"),
    (PoolLearning(11.2, 3), 503, "12"),
    (PoolUnavailable(), 503, "10"),
    (PoolClosed(), 503, "1"),
]
FORESEEN: list[tuple[Verdict, PermitError]] = [
    (Verdict.WAIT, PermitTimeout(3)),
    (Verdict.CLIENT_LIMIT, ClientLimitReached()),
    (Verdict.LINE_FULL, LineFull()),
    (Verdict.LEARNING, PoolLearning(11.2, 3)),
]


def told(problem: Problem) -> tuple[object, ...]:
    return problem.status, problem.body(), dict(problem.headers)


@pytest.mark.parametrize(("refusal", "status", "retry_after"), REFUSALS, ids=lambda value: type(value).__name__)
def test_each_refusal_has_a_status_a_sentence_and_a_time(refusal: PermitError, status: int, retry_after: str) -> None:
    problem = denial_of(refusal, 9.5)
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (status, refusal.code, retry_after)
    assert problem.detail


def test_no_refusal_is_forgotten() -> None:
    assert {refusal.code for refusal, _, _ in REFUSALS} == set(CODES) == set(Reason) - {Reason.PERMIT_LOST}
    assert set(REASONS) == {verdict for verdict, _ in FORESEEN} == set(Verdict) - {Verdict.GRANTED}


@pytest.mark.parametrize(("verdict", "refusal"), FORESEEN, ids=str)
def test_a_preflight_is_told_what_the_handshake_would_be(verdict: Verdict, refusal: PermitError) -> None:
    outlook = Outlook(verdict, place=3, learning_seconds=11.2)
    assert told(foreseen(outlook, 9.5)) == told(denial_of(refusal, 9.5))


@pytest.mark.parametrize(("refusal", "learns"), [(PermitTimeout(3), False), (PoolLearning(11.2, 3), True)], ids=str)
def test_a_place_that_is_kept_is_told_with_its_time(refusal: PermitError, learns: bool) -> None:
    problem = denial_of(refusal, 9.5, kept_seconds=15.9)
    expected = {"seconds": 12, "place": 3, "keptSeconds": 15} if learns else {"place": 3, "keptSeconds": 15}
    assert problem.extra == expected
    assert problem.headers["Retry-After"] == "1"
    verdict = Verdict.LEARNING if learns else Verdict.WAIT
    outlook = Outlook(verdict, 3, 11.2, waited_seconds=4.9, kept_seconds=15.9)
    assert foreseen(outlook, 9.5).extra == {**expected, "waitedSeconds": 4}


@pytest.mark.parametrize("refusal", [ClientLimitReached(), LineFull(), WaitReplaced()], ids=str)
def test_a_refusal_that_knows_no_place_tells_none(refusal: PermitError) -> None:
    assert denial_of(refusal, 9.5, kept_seconds=15).extra == {}


def test_a_client_that_would_be_let_in_is_told_how() -> None:
    problem = foreseen(Outlook(Verdict.GRANTED), 9.5)
    assert (problem.status, problem.headers["Upgrade"]) == (426, "websocket")


@pytest.mark.parametrize("code", DenialCode)
def test_a_denial_of_the_request_has_the_status_and_the_sentence_of_its_code(code: DenialCode) -> None:
    assert told(denied(code)) == told(Problem(code.status, code, code.meaning))
    assert denied(code, "another sentence").detail == "another sentence"


def test_the_codes_of_tokens_are_those_that_checking_them_raises() -> None:
    assert {code.value for code in DenialCode if code.status == 401} == {code.value for code in TokenErrorCode}
    assert KeysUnavailable().code == DenialCode.TOKEN_KEYS_UNAVAILABLE
    assert KeysUnavailable().status == DenialCode.TOKEN_KEYS_UNAVAILABLE.status


def test_every_temporary_denial_is_one_of_the_limits_of_the_pod_or_of_its_keys() -> None:
    of_the_pod = {pod_full().code, draining().code, KeysUnavailable().code, DenialCode.INTERNAL}
    assert {*CODES.values(), *of_the_pod} - {DenialCode.WAIT_REPLACED} == TEMPORARY_DENIALS
