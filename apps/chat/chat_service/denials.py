"""The denials of a handshake, as problems: because of the request, of this pod, or of the limits."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from frameproto.denials import DenialCode
from permits import REASONS, Outlook, PermitError, Reason, Verdict
from servicekit.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.problems import JsonValue


CODES: "Final[Mapping[Reason, DenialCode]]" = {
    Reason.CLUSTER_FULL: DenialCode.CLUSTER_FULL,
    Reason.CLIENT_LIMIT: DenialCode.CLIENT_LIMIT,
    Reason.LINE_FULL: DenialCode.LINE_FULL,
    Reason.WAIT_REPLACED: DenialCode.WAIT_REPLACED,
    Reason.LIMITS_LEARNING: DenialCode.LIMITS_LEARNING,
    Reason.LIMITS_UNAVAILABLE: DenialCode.LIMITS_UNAVAILABLE,
    Reason.DRAINING: DenialCode.DRAINING,
}
"""The denial for each reason of the limits. `PERMIT_LOST` ends a connection that is open, and denies none."""


def denied(code: DenialCode, detail: str = "") -> Problem:
    """Return a denial because of the request; `detail` replaces the sentence of the code."""
    return Problem(code.status, code, detail or code.meaning)


def draining() -> Problem:
    """Return what a handshake is told while the pod goes away."""
    return _temporary(DenialCode.DRAINING, 1)


def pod_full() -> Problem:
    """Return what a handshake is told while this pod has all the connections that it may have."""
    return _temporary(DenialCode.POD_FULL, 1)


def denial_of(refusal: PermitError, wait_seconds: float, *, kept_seconds: float = 0) -> Problem:
    """Return what a handshake is told that got no slot.

    Args:
        refusal: why it got none.
        wait_seconds: how long others may wait in the queue.
        kept_seconds: for how long the place is kept in which the handshake waited; 0: it is not.
    """
    place = _Place(refusal.place, kept_seconds=kept_seconds)
    return _without_slot(refusal.code, wait_seconds, place, refusal.left_seconds)


def foreseen(outlook: Outlook, wait_seconds: float) -> Problem:
    """Return what a handshake would be told now; 426 when it would be let in."""
    if outlook.verdict is Verdict.GRANTED:
        code = DenialCode.UPGRADE_REQUIRED
        return Problem(code.status, code, code.meaning, headers={"Upgrade": "websocket"})
    place = _Place(outlook.place, outlook.waited_seconds, outlook.kept_seconds)
    return _without_slot(REASONS[outlook.verdict], wait_seconds, place, outlook.learning_seconds)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the queue: its number, when it was taken, for how long it is kept (0: it is not)."""

    number: int
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


def _without_slot(reason: Reason, wait_seconds: float, place: _Place, learning_seconds: float) -> Problem:
    code = CODES[reason]
    if code is DenialCode.DRAINING:
        return draining()
    extra: dict[str, JsonValue] = {}
    if code is DenialCode.LIMITS_LEARNING:
        wait_seconds = learning_seconds
        extra["seconds"] = max(1, math.ceil(learning_seconds))
    if code in {DenialCode.CLUSTER_FULL, DenialCode.LIMITS_LEARNING}:
        extra |= place.members()
        if place.kept_seconds > 0:
            wait_seconds = 0  # a client that comes back at once waits in the queue, and not elsewhere
    return _temporary(code, wait_seconds, extra)


def _temporary(code: DenialCode, retry_after_seconds: float, extra: "dict[str, JsonValue] | None" = None) -> Problem:
    headers = {"Retry-After": str(max(1, math.ceil(retry_after_seconds)))}
    return Problem(code.status, code, code.meaning, extra=extra, headers=headers)
