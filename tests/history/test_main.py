"""One history pod as a process of its own."""

import os
import signal
import socket
import time
from pathlib import Path

from devtools.processes import STOP_SECONDS, ServiceProcess, running
from frameproto.exchange import encode_batch, encode_exchange
from servicekit.runner import CLOSE_SECONDS
from tests.support.exchanges import exchange

SETTINGS = {"HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0}
PAUSE_SECONDS = 0.5


def wait_for(service: ServiceProcess, event: str) -> None:
    while not service.count(event):
        time.sleep(0.02)


def send_slowly(service: ServiceProcess, *, seconds: float, number: int) -> bytes:
    """Begin to hand a batch in, send the process a signal, and send the rest within so many seconds."""
    body = encode_batch([encode_exchange(exchange())])
    head = (
        "POST /v1/exchanges HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/msgpack\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    steps = int(seconds / PAUSE_SECONDS)
    with socket.create_connection(("127.0.0.1", service.ports["history"]), timeout=30) as connection:
        connection.sendall(head.encode() + body[:-steps])
        wait_for(service, "stores.ready")
        service.kill(number)
        wait_for(service, "draining")
        for position in range(-steps, 0):
            time.sleep(PAUSE_SECONDS)
            connection.sendall(bytes([body[position]]))
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_a_request_that_is_under_way_may_use_the_whole_drain_budget(tmp_path: Path) -> None:
    settings = {**SETTINGS, "HISTORY_DATA_DIR": tmp_path / "data", "HISTORY_DRAIN_SECONDS": 60}
    with running("history_service", tmp_path / "log", settings) as service:
        answer = send_slowly(service, seconds=CLOSE_SECONDS + 2, number=signal.SIGTERM)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"outcome":"stored"' in answer
        assert service.process.wait(STOP_SECONDS) == os.EX_OK
