"""What the clients of a run saw: every visit and every exchange, one JSON line each."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from loadtest.json_lines import as_line, read_lines

Entrance = Literal["let_in", "denied", "broken", "gave_up"]
ExchangeOutcome = Literal["answered", "refused", "unanswered"]

DIGEST_BYTES: Final = 8


@dataclass(slots=True, kw_only=True)
class Visit:
    """One attempt to connect, and the connection. Times are seconds since 1970, as in all records of a run.

    Attributes:
        id: names it in the exchanges.
        habit: the kind of user.
        entrance: how the attempt ended. `broken`: there was no answer; `gave_up`: the swarm was stopped.
        answered_at: when it ended.
        status, code, place: of a denial.
        left_at: when the client was about to end the connection, or last heard of a server that ended it.
        ended_at: when the end was noticed.
        close_code: the close code.
        by_us: whether the client ended it.
    """

    id: str
    client: str
    zone: str
    habit: str
    asked_at: float
    answered_at: float
    entrance: Entrance
    status: int = 0
    code: str = ""
    place: int = 0
    session: str = ""
    left_at: float | None = None
    ended_at: float | None = None
    close_code: int = 0
    by_us: bool = False


@dataclass(slots=True, kw_only=True)
class ClientExchange:
    """One request and its outcome.

    Attributes:
        visit: in which connection.
        number: which of its requests, counted from 0.
        kind: text, voice or video.
        said: the text of a request, unlike any other; empty for media.
        code: of a refusal.
        reply: the digest of the reply's text.
        voice_bytes, image_bytes: how much media it had.
        fits: whether it was a reply to this request, as far as that can be told.
        message_id: its message id; empty over version 1.
        attempts: how often it was sent.
    """

    visit: str
    number: int
    kind: str
    said: str
    sent_at: float
    ended_at: float
    outcome: ExchangeOutcome
    code: str = ""
    reply: str = ""
    voice_bytes: int = 0
    image_bytes: int = 0
    fits: bool = True
    message_id: str = ""
    attempts: int = 1


@dataclass(slots=True, kw_only=True)
class SchedulingDelay:
    """The swarm was not scheduled for a while, so times measured just before may be too late."""

    at: float
    seconds: float


@dataclass(slots=True, kw_only=True)
class UnexpectedEvent:
    """A simulated client met something unexpected."""

    at: float
    met: str


@dataclass(slots=True, kw_only=True)
class ReconnectStorm:
    """All clients of a process lost their connections at once, as the shape of the run has it."""

    at: float


Entry = Visit | ClientExchange | SchedulingDelay | UnexpectedEvent | ReconnectStorm


@dataclass(frozen=True, slots=True)
class ClientLog:
    """The log of what clients see.

    Args:
        write: takes one line.
    """

    write: Callable[[str], None]

    def note(self, entry: Entry) -> None:
        """Write an entry. A visit is written when it begins and again when it ends; the later one counts."""
        self.write(as_line(entry))


@dataclass(frozen=True, slots=True)
class ClientRecords:
    """All entries of a client log."""

    visits: dict[str, Visit]
    exchanges: list[ClientExchange]
    late: list[SchedulingDelay] = field(default_factory=list)
    unexpected_events: list[UnexpectedEvent] = field(default_factory=list)
    storms: list[ReconnectStorm] = field(default_factory=list)


def read_client_log(lines: Iterable[str]) -> ClientRecords:
    """Read a client log."""
    seen = ClientRecords({}, [])
    kinds: tuple[type[Entry], ...] = (Visit, ClientExchange, SchedulingDelay, UnexpectedEvent, ReconnectStorm)
    for entry in read_lines(lines, *kinds):
        match entry:
            case Visit():
                seen.visits[entry.id] = entry
            case ClientExchange():
                seen.exchanges.append(entry)
            case SchedulingDelay():
                seen.late.append(entry)
            case UnexpectedEvent():
                seen.unexpected_events.append(entry)
            case ReconnectStorm():
                seen.storms.append(entry)
    return seen


def digest(text: str) -> str:
    """Return a short name of a text, the same wherever it is computed."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
