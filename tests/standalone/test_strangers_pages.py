"""A page of a stranger that has pointed its own name at this machine (DNS rebinding) reaches no port of it."""

import json
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from devtools.processes import ServiceProcess, running

PORTS = {
    "chat": "/connect?clientId=anna&timeZone=UTC",
    "history": "/v1/clients/anna/sessions",
    "chat-metrics": "/metrics",
    "history-metrics": "/metrics",
}
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def standalone(folder: Path, **settings: object) -> AbstractContextManager[ServiceProcess]:
    ports = {"CHAT_PORT": 0, "CHAT_METRICS_PORT": 0, "HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0}
    folders = {"CHAT_DATA_DIR": folder / "chat", "HISTORY_DATA_DIR": folder / "history"}
    return running("standalone", folder / "log", {**ports, **folders, "CHAT_MEDIA_PROCESSES": 1, **settings})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with standalone(tmp_path_factory.mktemp("standalone")) as started:
        yield started


def ask(service: ServiceProcess, name: str, path: str, host: str, headers: str = "") -> tuple[int, bytes]:
    """Ask as a browser would, and return the status and the body."""
    with socket.create_connection(("127.0.0.1", service.ports[name]), timeout=30) as sock:
        closing = "" if "Connection:" in headers else "Connection: close\r\n"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{closing}{headers}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.startswith(b"HTTP/1.1 101 "):
            received = sock.recv(65_536)
            if not received:
                break
            answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("name", PORTS)
def test_a_foreign_host_is_refused_though_the_origin_is_the_same(service: ServiceProcess, name: str) -> None:
    host = f"rebound.example:{service.ports[name]}"
    status, body = ask(service, name, PORTS[name], host, f"Origin: http://{host}\r\n")
    assert (status, json.loads(body)["code"]) == (421, "host_not_allowed")
    variable = "CHAT_ALLOWED_HOSTS" if name.startswith("chat") else "HISTORY_ALLOWED_HOSTS"
    assert variable in json.loads(body)["detail"]


def test_so_is_its_handshake(service: ServiceProcess) -> None:
    host = f"rebound.example:{service.ports['chat']}"
    status, body = ask(service, "chat", PORTS["chat"], host, f"Origin: http://{host}\r\n{UPGRADE}")
    assert (status, json.loads(body)["code"]) == (421, "host_not_allowed")


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_names_of_this_machine_are_taken(service: ServiceProcess, name: str, host: str) -> None:
    status, _ = ask(service, name, PORTS[name], f"{host}:{service.ports[name]}")
    assert status in {200, 426}


def test_a_page_of_this_machine_connects(service: ServiceProcess) -> None:
    host = f"localhost:{service.ports['chat']}"
    assert ask(service, "chat", PORTS["chat"], host, f"Origin: http://{host}\r\n{UPGRADE}")[0] == 101


@pytest.mark.parametrize("name", ["chat", "history"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_answered_whatever_they_ask_for(service: ServiceProcess, name: str, path: str) -> None:
    """The kubelet asks for the address of the pod."""
    assert ask(service, name, path, "10.1.2.3:8000")[0] in {200, 503}


def test_hosts_that_are_named_are_taken(tmp_path: Path) -> None:
    named = {"CHAT_ALLOWED_HOSTS": "chat.example,*.test:8443", "HISTORY_ALLOWED_HOSTS": "*"}
    with standalone(tmp_path, **named) as service:
        assert ask(service, "chat", PORTS["chat"], "chat.example")[0] == 426
        assert ask(service, "chat", PORTS["chat"], "a.test:8443")[0] == 426
        assert ask(service, "chat", PORTS["chat"], "a.test")[0] == 421
        assert ask(service, "chat", PORTS["chat"], "localhost")[0] == 426
        assert ask(service, "history", PORTS["history"], "rebound.example")[0] == 200
