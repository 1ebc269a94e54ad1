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
    Reason.CLUSTER_FULL: Denial(HTTPStatus.SERVICE_UNAVAILABLE, "all slots are taken"),
    Reason.LINE_FULL: Denial(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients are waiting already"),
    Reason.WAIT_REPLACED: Denial(
        HTTPStatus.CONFLICT, "another handshake with the same waitId took its place in the queue"
    ),
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


def denial_of(refusal: PermitError, wait_seconds: float, *, kept_seconds: float = 0) -> Problem:
    """Return what a handshake is told that got no slot.

    Args:
        refusal: why it got none.
        wait_seconds: how long others may wait in the queue.
        kept_seconds: for how long the place is kept in which the handshake waited; 0: it is not.
    """
    match refusal:
        case PoolClosed():
            return draining()
        case PermitTimeout():
            told = _Place(refusal.place, kept_seconds=kept_seconds)
            return _problem(refusal.code, wait_seconds, told)
        case PoolLearning():
            told = _Place(refusal.place, kept_seconds=kept_seconds)
            return _problem(refusal.code, wait_seconds, told, learning_seconds=refusal.left_seconds)
        case _:
            return _problem(refusal.code, wait_seconds)


def foreseen(outlook: Outlook, wait_seconds: float) -> Problem:
    """Return what a handshake would be told now; 426 when it would be let in."""
    if outlook.verdict is Verdict.GRANTED:
        detail = "connect here with WebSocket"
        return Problem(HTTPStatus.UPGRADE_REQUIRED, "upgrade_required", detail, headers={"Upgrade": "websocket"})
    place = _Place(outlook.place, outlook.waited_seconds, outlook.kept_seconds)
    return _problem(REASONS[outlook.verdict], wait_seconds, place, learning_seconds=outlook.learning_seconds)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the queue: its number, when it was taken, for how long it is kept (0: it is not)."""

    number: int = 0
    waited_seconds: float | None = None
    kept_seconds: float = 0

    def members(self) -> "dict[str, JsonValue]":
        """Return what the body of a denial says of it, in whole seconds."""
        members: dict[str, JsonValue] = {"place": self.number}
        if self.waited_seconds is not None:
            members["waitedSeconds"] = math.floor(self.waited_seconds)
        if self.kept_seconds > 0:
            members["keptSeconds"] = math.floor(self.kept_seconds)
        return members


_NO_PLACE: Final = _Place()


def _problem(code: Reason, wait_seconds: float, place: _Place = _NO_PLACE, *, learning_seconds: float = 0.0) -> Problem:
    denial = DENIALS[code]
    extra: dict[str, JsonValue] = {}
    if code is Reason.LIMITS_LEARNING:
        wait_seconds = learning_seconds
        extra["seconds"] = max(1, math.ceil(wait_seconds))
    if code in {Reason.CLUSTER_FULL, Reason.LIMITS_LEARNING}:
        extra |= place.members()
        if place.kept_seconds > 0:
            wait_seconds = 0  # who comes back at once waits in the queue, and not elsewhere
    headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))}
    return Problem(denial.status, code, denial.detail, extra=extra, headers=headers)
