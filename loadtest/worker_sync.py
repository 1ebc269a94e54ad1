"""Carries the log lines of Locust's workers to the master: with each report, and the rest when the run ends.

Locust gives its workers half a second to end. Clients need longer to close, so the master requests the last lines of
each worker, and waits for them, before Locust quits.
"""

import threading
import time
from typing import Any, Final

from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from loadtest.client_log import ClientLog, UnexpectedEvent

LINES: Final = "ledger"
FAREWELL: Final = "farewell"
FAREWELL_SECONDS: Final = 10.0  # on top of what Locust gives the users


class Sender:
    """The lines of a worker.

    Args:
        runner: of this process.
    """

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._lines: list[str] = []
        self.ledger = ClientLog(self._lines.append)
        runner.environment.events.report_to_master.add_listener(self._report)
        runner.environment.events.test_stop.add_listener(self._say_goodbye)
        runner.register_message(FAREWELL, self._stop, concurrent=True)

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[LINES] = self._take()

    def _stop(self, **_: object) -> None:
        self._runner.stop()  # returns when every client has left
        self._say_goodbye()  # also where it was stopped before

    def _say_goodbye(self, **_: object) -> None:
        self._runner.send_message(FAREWELL, {LINES: self._take()})

    def _take(self) -> list[str]:
        lines = self._lines[:]
        self._lines.clear()
        return lines


class ResultReceiver:
    """Puts the lines of all workers into one ledger.

    Args:
        runner: of this process, the master.
        ledger: gets the lines. A worker that did not finish is recorded as an unexpected event.
    """

    def __init__(self, runner: MasterRunner, ledger: ClientLog) -> None:
        self._runner = runner
        self._ledger = ledger
        self._there: set[str] = set()
        self._nobody_left = threading.Event()
        runner.environment.events.worker_report.add_listener(self._worker_report)
        runner.environment.events.test_stop.add_listener(self._wait_for_all)
        runner.register_message(FAREWELL, self._farewell)

    def _worker_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        lines = data.pop(LINES, ())
        if lines:
            self._there.add(client_id)
        self._write(lines)

    def _farewell(self, msg: Message, **_: object) -> None:
        self._write(msg.data[LINES])
        self._there.discard(msg.node_id)
        if not self._there:
            self._nobody_left.set()

    def _wait_for_all(self, **_: object) -> None:
        if self._there:
            self._nobody_left.clear()
            self._runner.send_message(FAREWELL)
            if self._there & {worker.id for worker in self._runner.clients.all if worker.state != STATE_MISSING}:
                self._nobody_left.wait((self._runner.environment.stop_timeout or 0) + FAREWELL_SECONDS)
        for worker in sorted(self._there):
            self._ledger.note(
                UnexpectedEvent(at=time.time(), met=f"the end of its worker {worker}, which had more to tell")
            )
        self._there.clear()

    def _write(self, lines: list[str]) -> None:
        for line in lines:
            self._ledger.write(line)
