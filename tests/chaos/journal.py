"""What a worker writes down of its asks and holds, and how that is read.

One JSON line for each event, written at once, so that a killed worker's last line is there. All times are those of
`time.monotonic_ns()`, which all processes of one machine share.

    asked     an acquire begins                      ask, seconds: how long it is ready to wait
    granted   its permit was seen, and was valid     ask, ticket
    refused   there is none                          ask, code; "gave_up": the worker itself cancelled the acquire
    released  `at` the last look, still valid; it is given back right after this line
    lost      `at` the last moment at which it was valid: the last look, or its lease's own deadline since
    late      the worker was not run for so many seconds, until `at`
    ready, idle, bye
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class Journal:
    """Where a worker writes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what: str, at: int | None = None, **more: str | float) -> None:
        """Write one line, which survives this process."""
        line = {"at": time.monotonic_ns() if at is None else at, "what": what, **more}
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


@dataclass(slots=True)
class Ask:
    """One acquire and what became of it.

    Attributes:
        worker: whose it was.
        id: names it within the worker.
        asked: when it began.
        wait_seconds: how long it was ready to wait.
        answered: when its permit was seen, or its refusal; None: never.
        outcome: "granted" or the code of the refusal.
        ticket: the permit's.
        until: the last moment at which its permit is known to have been valid; None: not known yet.
        end: how that ended: "released", "lost", or "killed" with its worker.
    """

    worker: str
    id: str
    asked: int
    wait_seconds: float
    answered: int | None = None
    outcome: str = ""
    ticket: int = 0
    until: int | None = None
    end: str = ""

    @property
    def client(self) -> str:
        """Whose it is: a client id, which others may have in other workers."""
        return self.id.partition(".")[0]


class Story:
    """A worker's journal, read as it grows.

    Attributes:
        asks: all of them, by id.
        granted: those that were granted, in the order in which that was seen.
        refused: when somebody was refused because the store could not be asked.
        late: when the worker was not run in time, and for how many seconds.
        said: the words that stand for a state of the worker.
        last: the time of the newest line: the worker was alive then.
    """

    def __init__(self, worker: str, path: Path) -> None:
        self.worker = worker
        self.asks: dict[str, Ask] = {}
        self.granted: list[Ask] = []
        self.refused: list[int] = []
        self.late: list[tuple[int, float]] = []
        self.said: set[str] = set()
        self.last = 0
        self._path = path
        self._offset = 0

    def read(self) -> None:
        """Take in what was written since."""
        for line in self._lines():
            self._take_in(**json.loads(line))

    def _lines(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line

    def _take_in(
        self, at: int, what: str, ask: str = "", ticket: int = 0, code: str = "", seconds: float = 0.0
    ) -> None:
        self.last = max(self.last, at)
        match what:
            case "asked":
                self.asks[ask] = Ask(self.worker, ask, at, seconds)
            case "granted":
                granted = self.asks[ask]
                granted.answered, granted.outcome, granted.ticket = at, "granted", ticket
                self.granted.append(granted)
            case "refused":
                refused = self.asks[ask]
                refused.answered, refused.outcome = at, code
                if code == "limits_unavailable":
                    self.refused.append(at)
            case "released" | "lost":
                self.asks[ask].until, self.asks[ask].end = at, what
            case "late":
                self.late.append((at, seconds))
            case _:
                self.said.add(what)

    def bury(self) -> None:
        """The worker was killed: what it held, it held at its last line, as far as anybody knows."""
        self.read()
        for ask in self.granted:
            if ask.until is None:
                ask.until, ask.end = self.last, "killed"

    def grants_since(self, moment: int) -> int:
        """Return how many were granted that were asked for after a moment."""
        count = 0
        for ask in reversed(self.granted):
            if (ask.answered or 0) < moment:
                break
            count += ask.asked > moment
        return count
