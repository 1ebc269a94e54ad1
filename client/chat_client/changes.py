"""Changes of the connection, reported to the caller as they happen."""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from chat_client.errors import ClientError


class State(Enum):
    """What a chat is doing."""

    CONNECTING = "connecting"  # or waiting in the queue for a permit
    OPEN = "open"
    PAUSING = "pausing"  # before the next attempt
    IDLE = "idle"  # not connected; the next message connects
    ENDED = "ended"  # for good


@dataclass(frozen=True, slots=True)
class Connecting:
    """An attempt begins; the first one in a row has number 1."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The client waits in the queue: all permits are taken, or the server recovers its limits. Reported repeatedly.

    Attributes:
        place: in the queue; 1 is the next.
        seconds: how long it has been waiting.
        learning_seconds: for how much longer at most the server lets nobody in, because the store of its limits is new
            or was emptied; None: all permits are taken.
    """

    place: int
    seconds: float
    learning_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection is open.

    Attributes:
        session_id: names the conversation in history.
        protocol: the subprotocol that the server chose.
        again: there was a connection before.
    """

    session_id: UUID | None
    protocol: str
    again: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The open connection ended. What follows says whether it comes back."""

    why: ClientError


@dataclass(frozen=True, slots=True)
class Retrying:
    """The next attempt begins in so many seconds."""

    why: ClientError
    seconds: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Idle:
    """There is no connection, and no attempt to get one; the next message connects."""

    why: ClientError


@dataclass(frozen=True, slots=True)
class Ended:
    """There will be no connection any more; each further message raises."""

    why: ClientError


Change = Connecting | Waiting | Connected | Lost | Retrying | Idle | Ended

STATE_AFTER: dict[type[Change], State] = {
    Connecting: State.CONNECTING,
    Waiting: State.CONNECTING,
    Connected: State.OPEN,
    Lost: State.PAUSING,
    Retrying: State.PAUSING,
    Idle: State.IDLE,
    Ended: State.ENDED,
}
