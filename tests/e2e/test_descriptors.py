"""Services with few file descriptors, and more peers than they can hold: newcomers are served or told, never reset."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from devtools.processes import ServiceProcess, running

MAX_FILES = 256
PEERS = 400
SECONDS = 30.0
PATHS = {"chat": "/connect?clientId=new&timeZone=UTC", "history": "/v1/clients/new/sessions"}
SERVED = {"chat": 426, "history": 200}
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BATCH = (
    "POST /v1/exchanges HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/msgpack\r\n"
    "Content-Length: 1000\r\n\r\nx"
)


@pytest.fixture(scope="module", params=["chat", "history"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose requests wait for long: for a place, or for their turn to be read."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    prefix = name.upper()
    settings = {
        f"{prefix}_PORT": 0,
        f"{prefix}_METRICS_PORT": 0,
        f"{prefix}_DATA_DIR": folder / "data",
        f"{prefix}_HTTP_STALL_SECONDS": 3600,
        f"{prefix}_HTTP_BODY_SECONDS": 3600,
        f"{prefix}_HTTP_HEAD_SECONDS": 3600,
        f"{prefix}_HTTP_IDLE_SECONDS": 3600,
        "CHAT_MAX_CONNECTIONS": 1,
        "CHAT_CONNECT_WAIT_SECONDS": 3600,
        "CHAT_FIRST_MESSAGE_SECONDS": 3600,
        "CHAT_MEDIA_PROCESSES": 1,
        "HISTORY_INGEST_WAIT_SECONDS": 3600,
        "HISTORY_BATCH_SECONDS": 3600,
    }
    with running(f"{name}_service", folder / "log", settings, max_files=MAX_FILES) as started:
        assert answers(started, name, "/readyz", 200)
        yield started


@contextlib.contextmanager
def peers(service: ServiceProcess, name: str, first_words: list[str]) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = []
        for words in first_words:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.ports[name]), timeout=SECONDS))
            if words:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(words.encode())
            sockets.append(sock)
        yield sockets


def ask(service: ServiceProcess, name: str, path: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", service.ports[name]), timeout=SECONDS) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while received := sock.recv(65_536):
            answer += received
    assert answer, "the connection ended without an answer"
    return int(answer.split()[1]), answer.decode()


def name_of(service: ServiceProcess) -> str:
    return service.module.removesuffix("_service")


@pytest.mark.parametrize("words", ["", "GET / HTTP/1.1\r\nX-A: "], ids=["say nothing", "say half a head"])
def test_peers_that_ask_for_nothing_keep_nobody_out(service: ServiceProcess, words: str) -> None:
    name = name_of(service)
    with peers(service, name, [words] * PEERS):
        for _ in range(20):
            assert ask(service, name, PATHS[name])[0] == SERVED[name]
        assert ask(service, f"{name}-metrics", "/metrics")[0] == 200
        assert "out of system resource" not in service.log.read_text()


def test_while_all_have_requests_newcomers_are_told(service: ServiceProcess) -> None:
    name = name_of(service)
    if name == "chat":
        requests = [
            f"GET /connect?clientId=c{index}&timeZone=UTC HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"
            for index in range(PEERS)
        ]
    else:
        requests = [BATCH] * PEERS
    with peers(service, name, requests):
        for _ in range(20):
            status, answer = ask(service, name, PATHS[name])
            assert status == 503
            assert "connections_exhausted" in answer
            assert "retry-after: 1" in answer
        assert ask(service, name, "/healthz")[0] == 200
        assert "chatbot_http_connections_cut_total" in ask(service, f"{name}-metrics", "/metrics")[1]
    assert answers(service, name, PATHS[name], SERVED[name])  # it needs a moment to see that peers have gone


def answers(service: ServiceProcess, name: str, path: str, status: int) -> bool:
    """Ask until that is the answer; say whether it came to that."""
    deadline = time.monotonic() + SECONDS
    while ask(service, name, path)[0] != status:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
