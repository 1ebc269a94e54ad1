"""A worker that is lost takes with it what its clients saw last; the client log says so."""

import subprocess
import sys

from devtools.ports import free_port
from devtools.servers import ROOT
from loadtest.client_log import read_client_log

LOST = """
import sys
from locust.env import Environment
from loadtest.worker_sync import LINES, ResultReceiver
from loadtest.client_log import ClientLog

environment = Environment()
runner = environment.create_master_runner("127.0.0.1", int(sys.argv[1]))
ResultReceiver(runner, ClientLog(print))
environment.events.worker_report.fire(client_id="idle", data={LINES: []})
environment.events.worker_report.fire(client_id="busy", data={LINES: ["{}"]})
environment.events.test_stop.fire(environment=environment)
environment.events.test_stop.fire(environment=environment)
runner.quit()
"""


def test_a_worker_that_was_lost_with_its_clients_is_missed_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOST, str(free_port())], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    carried, *more = ended.stdout.splitlines()
    assert carried == "{}"
    (event,) = read_client_log(more).unexpected_events
    assert event.met == "the end of its worker busy, which had more to tell"
