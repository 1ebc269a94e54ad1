"""What Locust loads: `locust -f loadtest/locustfile.py`, with one of loadtest/shapes/*.py behind a comma for a shape.

ClientLog lines of workers travel to the master with Locust's own reports, so one file holds what all clients saw.
"""

import sys
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the locust program gets only this file

from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.client_log import ClientLog, ReconnectStorm, SchedulingDelay, UnexpectedEvent
from loadtest.stages import STORM
from loadtest.users import Chatter, ChatUser, Reporter, Resender, Rusher, Wanderer
from loadtest.worker_sync import ResultReceiver, Sender

__all__ = ["Chatter", "Reporter", "Resender", "Rusher", "Wanderer"]

TICK_SECONDS = 0.1
LATE_SECONDS = 0.1


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Say what can be set."""
    ours = parser.add_argument_group("chatbot options")
    ours.add_argument("--ledger", default="", metavar="FILE", help="write what clients see to this file, as JSON lines")
    ours.add_argument("--window", type=int, default=20, help="messages that rushers send without an answer")
    ours.add_argument(
        "--connect-patience", type=float, default=75.0, metavar="SECONDS", help="how long clients wait for a connection"
    )


@events.init.add_listener
def begin(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - as Locust has it
    """Open the client log: the file here, or the lines sent to the master."""
    options, runner = environment.parsed_options, environment.runner
    if options is None or runner is None:
        return
    runner.register_message(STORM, _storm)
    if isinstance(runner, WorkerRunner):
        ChatUser.client_log = Sender(runner).client_log
    elif options.ledger:
        file = Path(options.ledger).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - as long as the run
        ChatUser.client_log = ClientLog(lambda line: print(line, file=file))
        if isinstance(runner, MasterRunner):
            ResultReceiver(runner, ChatUser.client_log)
    environment.events.user_error.add_listener(_note_user_error)
    if not isinstance(runner, MasterRunner):
        threading.Thread(target=_note_delays, args=[ChatUser.client_log], daemon=True).start()


def _note_user_error(exception: BaseException, **_: Any) -> None:  # noqa: ANN401 - as Locust has it
    ChatUser.client_log.note(UnexpectedEvent(at=time.time(), met=f"{type(exception).__name__}: {exception}"))


def _note_delays(client_log: ClientLog) -> None:
    """Record when this process was not scheduled: delays that its clients measured then are not the server's."""
    while True:
        before = time.monotonic()
        time.sleep(TICK_SECONDS)
        late_seconds = time.monotonic() - before - TICK_SECONDS
        if late_seconds > LATE_SECONDS:
            client_log.note(SchedulingDelay(at=time.time(), seconds=round(late_seconds, 3)))


def _storm(environment: Environment, **_: Any) -> None:  # noqa: ANN401 - as Locust has it
    """Cut every connection of this process at once."""
    runner = environment.runner
    ChatUser.client_log.note(ReconnectStorm(at=time.time()))
    for greenlet in list(runner.user_greenlets) if runner is not None else ():
        user = greenlet.args[0] if greenlet.args else None
        if isinstance(user, ChatUser) and user.talk is not None:
            threading.Thread(target=user.talk.abort).start()
