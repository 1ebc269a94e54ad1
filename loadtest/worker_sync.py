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
LAST_LINES: Final = "farewell"
LAST_LINES_SECONDS: Final = 10.0  # on top of what Locust gives the users


class Sender:
    """The lines of a worker.

    Args:
        runner: of this process.
    """

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._lines: list[str] = []
        self.client_log = ClientLog(self._lines.append)
        runner.environment.events.report_to_master.add_listener(self._report)
        runner.environment.events.test_stop.add_listener(self._send_last_lines)
        runner.register_message(LAST_LINES, self._stop, concurrent=True)

    def _report(self, data: dict[str, Any], **_: object) -> None:
        data[LINES] = self._take()

    def _stop(self, **_: object) -> None:
        self._runner.stop()  # returns when every client has left
        self._send_last_lines()  # also where it was stopped before

    def _send_last_lines(self, **_: object) -> None:
        self._runner.send_message(LAST_LINES, {LINES: self._take()})

    def _take(self) -> list[str]:
        lines = self._lines[:]
        self._lines.clear()
        return lines


class ResultReceiver:
    """Puts the lines of all workers into one client log.

    Args:
        runner: of this process, the master.
        client_log: gets the lines. A worker that did not finish is recorded as an unexpected event.
    """

    def __init__(self, runner: MasterRunner, client_log: ClientLog) -> None:
        self._runner = runner
        self._client_log = client_log
        self._unfinished: set[str] = set()
        self._all_finished = threading.Event()
        runner.environment.events.worker_report.add_listener(self._worker_report)
        runner.environment.events.test_stop.add_listener(self._wait_for_all)
        runner.register_message(LAST_LINES, self._worker_finished)

    def _worker_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        lines = data.pop(LINES, ())
        if lines:
            self._unfinished.add(client_id)
        self._write(lines)

    def _worker_finished(self, msg: Message, **_: object) -> None:
        self._write(msg.data[LINES])
        self._unfinished.discard(msg.node_id)
        if not self._unfinished:
            self._all_finished.set()

    def _wait_for_all(self, **_: object) -> None:
        if self._unfinished:
            self._all_finished.clear()
            self._runner.send_message(LAST_LINES)
            if self._unfinished & {worker.id for worker in self._runner.clients.all if worker.state != STATE_MISSING}:
                self._all_finished.wait((self._runner.environment.stop_timeout or 0) + LAST_LINES_SECONDS)
        for worker in sorted(self._unfinished):
            self._client_log.note(
                UnexpectedEvent(at=time.time(), met=f"the end of its worker {worker}, which had more to tell")
            )
        self._unfinished.clear()

    def _write(self, lines: list[str]) -> None:
        for line in lines:
            self._client_log.write(line)
