"""What clients said and saw, what history has, and what was done to the system in between."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from frameproto import Buffer

NO_CLOSE_FRAME: Final = 1006
"""What a client sees when the process behind its connection is killed. A living server says why it closes."""


class End(StrEnum):
    """How it went on with something that was said."""

    WAITS = "waits"
    ANSWERED = "answered"
    REFUSED = "refused"
    """By an error frame that promises that nothing was kept."""
    CUT = "cut"
    """The connection broke before the client saw an answer."""


@dataclass(slots=True)
class Said:
    """One request, as its client knows it.

    Attributes:
        client: who.
        number: rises with each request of a client, in the order of sending.
        request: the digest of what was sent; no two are alike.
        sent: when (monotonic seconds).
        end: how it went on.
        ended: when the client knew that.
        reply: the digest of the answer.
        code: of the error, if it was refused.
        opened: when its connection was open (monotonic seconds).
        close_code: of the WebSocket, if the connection broke; `NO_CLOSE_FRAME`: the server sent none.
        attempts: how often a client of v2 has sent it; over v1 nothing is sent again.
    """

    client: str
    number: int
    request: str
    sent: float
    end: End = End.WAITS
    ended: float = 0.0
    reply: str = ""
    code: str = ""
    opened: float = 0.0
    close_code: int = 0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """One exchange, as history has it.

    Attributes:
        client: whose.
        session: of which session.
        exchange: its id.
        request: the digest of the request.
        reply: the digest of the reply, with all of its media.
    """

    client: str
    session: str
    exchange: str
    request: str
    reply: str


@dataclass(frozen=True, slots=True)
class Kill:
    """The end of a chat process: between these moments (monotonic seconds)."""

    began: float
    dead: float


@dataclass
class Story:
    """All of a run.

    Attributes:
        said: by all clients.
        kept: by history, sessions oldest first, each session in its order.
        kills: of chat processes.
        faults: what was done, and when (monotonic seconds).
        complaints: of clients, about what they were answered.
    """

    said: list[Said] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def digest(kind: str, *parts: Buffer) -> str:
    """Return what stands for a message: its kind, and its text and media byte for byte."""
    whole = hashlib.sha256(kind.encode())
    for part in parts:
        whole.update(b"%d:" % len(part))
        whole.update(part)
    return whole.hexdigest()[:24]
