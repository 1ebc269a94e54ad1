"""What a handshake is told when the limits have no slot for it: one table from the reason to status and sentence."""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from permits import REASONS, Outlook, PermitError, PermitTimeout, PoolClosed, PoolLearning, Reason, Verdict
from servicekit.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.problems import JsonValue

DRAINING: Final = "draining"


@dataclass(frozen=True, slots=True)
class Denial:
    """How a refusal of the limits is told over HTTP."""

    status: HTTPStatus
    detail: str


_UNAVAILABLE: Final = Denial(HTTPStatus.SERVICE_UNAVAILABLE, "the limits cannot be checked at the moment")

DENIALS: "Final[Mapping[Reason, Denial]]" = {
    Reason.CLIENT_LIMIT: Denial(HTTPStatus.TOO_MANY_REQUESTS, "this client has all the connections it may have"),
    Reason.CLUSTER_FULL: Denial(HTTPStatus.SERVICE_UNAVAILABLE, "all places are taken"),
    Reason.LINE_FULL: Denial(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients are waiting already"),
    Reason.LIMITS_LEARNING: Denial(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the store of the limits may have forgotten who is connected; nobody new is let in meanwhile",
    ),
    Reason.LIMITS_UNAVAILABLE: _UNAVAILABLE,
    Reason.PERMIT_LOST: _UNAVAILABLE,
}
"""By the reason of the refusal; one that is missing here fails loudly. A closed pool means that the pod drains."""


def draining() -> Problem:
    """Return what a handshake is told while the pod goes away."""
    detail = "this server is going away; connect again"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, DRAINING, detail, headers={"Retry-After": "1"})


def pod_full() -> Problem:
    """Return what a handshake is told while this pod has all the connections that it may have."""
    detail = "this server has all the connections it may have; connect again"
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "pod_full", detail, headers={"Retry-After": "1"})


def denial_of(refusal: PermitError, wait_seconds: float) -> Problem:
    """Return what a handshake is told that got no slot; `wait_seconds` is how long others may wait in the queue."""
    match refusal:
        case PoolClosed():
            return draining()
        case PermitTimeout():
            return _problem(refusal.code, wait_seconds, place=refusal.place)
        case PoolLearning():
            return _problem(refusal.code, wait_seconds, place=refusal.place, learning_seconds=refusal.left_seconds)
        case _:
            return _problem(refusal.code, wait_seconds)


def foreseen(outlook: Outlook, wait_seconds: float) -> Problem:
    """Return what a handshake would be told now; 426 when it would be let in."""
    if outlook.verdict is Verdict.GRANTED:
        detail = "connect here with WebSocket"
        return Problem(HTTPStatus.UPGRADE_REQUIRED, "upgrade_required", detail, headers={"Upgrade": "websocket"})
    return _problem(
        REASONS[outlook.verdict], wait_seconds, place=outlook.place, learning_seconds=outlook.learning_seconds
    )


def _problem(code: Reason, wait_seconds: float, *, place: int = 0, learning_seconds: float = 0.0) -> Problem:
    denial = DENIALS[code]
    extra: dict[str, JsonValue] = {}
    if code is Reason.LIMITS_LEARNING:
        wait_seconds = learning_seconds
        extra["seconds"] = max(1, math.ceil(wait_seconds))
    if code in {Reason.CLUSTER_FULL, Reason.LIMITS_LEARNING}:
        extra["place"] = place
    headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))}
    return Problem(denial.status, code, denial.detail, extra=extra, headers=headers)
