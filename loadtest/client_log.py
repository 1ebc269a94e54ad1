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
    """One attempt to connect, and the stay that came of it. Times are seconds since 1970, as in all records of a run.

    Attributes:
        id: names it in the exchanges.
        habit: the kind of user.
        entrance: how the attempt ended; `broken` is one that nobody answered, `gave_up` one that the swarm stopped.
        answered_at: when that was known.
        status, code, place: of a denial.
        left_at: when the client was about to end the connection, or, where the server ended it, last heard of it.
        ended_at: when the end was noticed.
        close_code: how it ended.
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
    """One request and what came of it.

    Attributes:
        visit: in which connection.
        number: which of its requests, counted from 0.
        kind: text, voice or video.
        said: the text of a request, unlike any other; empty for media.
        code: of a refusal.
        reply: the digest of the reply's text.
        voice_bytes, image_bytes: how much media it had.
        fits: whether it was a reply to this request, as far as that can be told.
        message_id: what the client called it; empty: over version 1 nothing has a name.
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
    """The swarm itself was not run for a while: what it measured just before may be later than it was."""

    at: float
    seconds: float


@dataclass(slots=True, kw_only=True)
class UnexpectedEvent:
    """A simulated client met something that nobody thought of."""

    at: float
    met: str


@dataclass(slots=True, kw_only=True)
class ReconnectStorm:
    """All clients of a process lost their connections at once, as the shape of the run has it."""

    at: float


Entry = Visit | ClientExchange | SchedulingDelay | UnexpectedEvent | ReconnectStorm


@dataclass(frozen=True, slots=True)
class ClientLog:
    """Where clients write down what they see.

    Args:
        write: takes one line.
    """

    write: Callable[[str], None]

    def note(self, entry: Entry) -> None:
        """Write an entry. A visit is written when it begins and again when it ends; the later one counts."""
        self.write(as_line(entry))


@dataclass(frozen=True, slots=True)
class ClientRecords:
    """A whole ledger."""

    visits: dict[str, Visit]
    exchanges: list[ClientExchange]
    late: list[SchedulingDelay] = field(default_factory=list)
    mishaps: list[UnexpectedEvent] = field(default_factory=list)
    storms: list[ReconnectStorm] = field(default_factory=list)


def read_client_log(lines: Iterable[str]) -> ClientRecords:
    """Return what stands in a ledger."""
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
                seen.mishaps.append(entry)
            case ReconnectStorm():
                seen.storms.append(entry)
    return seen


def digest(text: str) -> str:
    """Return a short name of a text, the same wherever it is computed."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
