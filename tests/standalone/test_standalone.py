"""The whole chatbot in one process, as somebody meets it who has just started it."""

import json
import signal
import socket
import time
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from devtools.ports import free_port
from devtools.processes import ServiceProcess, running
from devtools.programs import run_to_its_end
from frameproto import Request, RequestKind, decode_response, encode_request

SECONDS = 30.0
LAST = "python -m standalone: cannot start with these settings; see --help"


def get(url: str) -> tuple[int, Any]:
    try:
        with urlopen(url, timeout=SECONDS) as response:
            body = response.read().decode()
            return response.status, json.loads(body) if "json" in response.headers["content-type"] else body
    except HTTPError as exc:
        with exc:
            return exc.code, exc.read()


def say(service: ServiceProcess, text: str) -> str:
    """Send one text as anna, and return what the bot answers."""
    with connect(f"ws://127.0.0.1:{service.ports['chat']}/connect?clientId=anna&timeZone=UTC") as chat:
        chat.send(encode_request(Request(RequestKind.TEXT, text.encode())))
        answer = chat.recv(timeout=SECONDS)
        assert isinstance(answer, bytes)
        return str(decode_response(answer).text)


def sessions_of_anna(service: ServiceProcess, count: int, history: str | None = None) -> int:
    """Wait until history knows so many sessions, and return how many it knows."""
    history = history or f"http://127.0.0.1:{service.ports['history']}"
    deadline = time.monotonic() + SECONDS
    while True:
        status, told = get(f"{history}/v1/clients/anna/sessions")
        found = len(told["sessions"]) if status == 200 else 0
        if found >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def speaks_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def ready(url: str) -> bool:
    """Wait until a service is ready; the stores of history are opened in the background."""
    deadline = time.monotonic() + SECONDS
    while get(f"{url}/readyz")[0] != 200:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_it_says_where_everything_is_and_everything_is_there(tmp_path: Path, settings: dict[str, object]) -> None:
    with running("standalone", tmp_path / "log", settings) as service:
        written = service.printed("Ctrl-C stops it")
        at = {name: f"127.0.0.1:{port}" for name, port in service.ports.items()}
        assert f"chat-client connect ws://{at['chat']} --client-id you --history http://{at['history']}\n" in written
        assert f"ws://{at['chat']}/connect" in written
        for name in ("chat", "history"):
            assert ready(f"http://{at[name]}")
            status, alive = get(f"http://{at[name]}/healthz")
            assert (status, alive["version"]) == (200, metadata.version(f"chatbot-{name}"))
            metrics = f"http://{at[f'{name}-metrics']}/metrics"
            assert metrics in written
            assert "process_resident_memory_bytes" in get(metrics)[1]
        assert "\x1b" not in written
        assert service.stop() == 0


def test_what_was_said_is_in_history_and_stays_there(tmp_path: Path, settings: dict[str, object]) -> None:
    with running("standalone", tmp_path / "log", settings) as service:
        assert say(service, "hello")
        assert sessions_of_anna(service, 1) == 1
        assert say(service, "hello again")
        assert service.stop() == 0
    with running("standalone", tmp_path / "again", settings) as service:
        assert sessions_of_anna(service, 2) == 2


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")],
    ids=["every address", "every address of IPv6", "an address of IPv6", "a name"],
)
def test_chat_finds_history_wherever_it_listens_and_so_does_whoever_reads(
    tmp_path: Path, settings: dict[str, object], host: str, reached_at: str
) -> None:
    if ":" in host and not speaks_ipv6():
        pytest.skip("this machine has no IPv6")
    settings |= {"HISTORY_HOST": host, "HISTORY_PORT": free_port(), "CHAT_HOST": "0.0.0.0"}
    with running("standalone", tmp_path / "log", settings) as service:
        assert say(service, "hello")
        history = f"http://{reached_at}:{settings['HISTORY_PORT']}"
        assert sessions_of_anna(service, 1, history) == 1
        written = service.printed("Ctrl-C stops it")
        assert f"{history}/v1\n" in written
        assert f"connect ws://127.0.0.1:{service.ports['chat']} " in written
        assert service.stop() == 0


def test_chat_delivers_elsewhere_when_it_is_told_to(tmp_path: Path, settings: dict[str, object]) -> None:
    nowhere = {"CHAT_HISTORY_URL": f"http://127.0.0.1:{free_port()}", "CHAT_DRAIN_SECONDS": 1}
    with running("standalone", tmp_path / "log", {**settings, **nowhere}) as service:
        assert say(service, "hello")
        assert service.stop() == 1
    with running("standalone", tmp_path / "again", settings) as service:
        assert sessions_of_anna(service, 1) == 1
        assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_in_good_order_with_clients_told(
    tmp_path: Path, settings: dict[str, object], number: signal.Signals
) -> None:
    with running("standalone", tmp_path / "log", settings) as service:
        url = f"ws://127.0.0.1:{service.ports['chat']}/connect?clientId=anna&timeZone=UTC"
        with connect(url) as chat:
            service.kill(number)
            with pytest.raises(ConnectionClosed):
                chat.recv(timeout=SECONDS)
            assert chat.protocol.close_code == 1012
        assert service.process.wait(SECONDS) == 0
        assert "Traceback" not in service.log.read_text()


def test_a_second_one_on_the_same_data_is_refused_in_one_clear_line(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    with running("standalone", tmp_path / "log", settings) as service:
        second = run_to_its_end("standalone", tmp_path, **settings)
        assert (second.returncode, second.stdout) == (1, "")
        (line,) = said(second.stderr)
        assert str(settings["CHAT_DATA_DIR"]) in line
        assert "in use by another process; give each its own CHAT_DATA_DIR" in line
        assert say(service, "are you still there")


def test_a_port_in_use_is_one_clear_line_and_the_data_is_free_again(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_its_end("standalone", tmp_path, **{**settings, "HISTORY_PORT": port})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said(ended.stderr) == [f"cannot listen on 127.0.0.1:{port}: address already in use (set HISTORY_PORT)"]
    with running("standalone", tmp_path / "log", settings) as service:
        assert service.stop() == 0


def test_mistakes_of_both_services_are_told_together(tmp_path: Path) -> None:
    ended = run_to_its_end("standalone", tmp_path, CHAT_PORT="x", HISTORY_PORT="y", HISTORY_AUTH="jwt", CHAT_WINDOW=0)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        'CHAT_PORT: must be a whole number (got "x")',
        'CHAT_WINDOW: must be at least 1 (got "0")',
        'HISTORY_PORT: must be a whole number (got "y")',
        LAST,
    ]
    assert list(tmp_path.iterdir()) == []


def test_help_is_about_both_services(tmp_path: Path) -> None:
    ended = run_to_its_end("standalone", tmp_path, "--help", COLUMNS=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "CHAT_MAX_CONNECTIONS " in ended.stdout
    assert "HISTORY_MONGODB_URL " in ended.stdout


def said(err: str) -> list[str]:
    """What stands on standard error beside events."""
    return [line for line in err.splitlines() if not line.startswith("{")]


def test_the_page_of_this_machine_reads_history_on_its_other_port(tmp_path: Path, settings: dict[str, object]) -> None:
    chat, history = free_port(), free_port()
    ports = {"CHAT_PORT": chat, "HISTORY_PORT": history}
    with running("standalone", tmp_path / "log", {**settings, **ports}) as service:
        status, found = get(f"http://127.0.0.1:{chat}/.well-known/chatbot")
        assert (status, found["history"]) == (200, f"http://127.0.0.1:{history}")
        assert get(f"http://127.0.0.1:{chat}/")[0] == 200
        for host, allowed in (("127.0.0.1", True), ("localhost", True), ("page.example", False)):
            origin = f"http://{host}:{chat}"
            asked = HttpRequest(f"{found['history']}/v1/clients/anna/sessions", headers={"Origin": origin})
            with urlopen(asked, timeout=SECONDS) as response:
                assert (response.headers["Access-Control-Allow-Origin"] == origin) is allowed
        service.printed(f"page      http://127.0.0.1:{chat}/")
