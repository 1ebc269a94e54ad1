"""The programs of docs/talk-from-anything.md, and the one of client/web/README.md, against a running server."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from devtools.processes import ServiceProcess, running
from devtools.servers import ROOT
from tests.support.pages import python_examples

PAGE = "docs/talk-from-anything.md"
VERSION_1, VERSION_2 = python_examples(PAGE)
(JAVASCRIPT,) = re.findall(r"^```js\n(.*?)^```", (ROOT / PAGE).read_text("utf-8"), re.DOTALL | re.MULTILINE)
(PRINTED,) = re.findall(r"printf '(\\0[^']+)' \| websocat", (ROOT / PAGE).read_text("utf-8"))
NODE = shutil.which("node")
ANSWER = re.compile(r"It is \d\d:\d\d where you are \(Europe/Berlin\)\.")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("standalone")
    ports = {"CHAT_PORT": 0, "CHAT_METRICS_PORT": 0, "HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0}
    folders = {"CHAT_DATA_DIR": folder / "chat", "HISTORY_DATA_DIR": folder / "history"}
    with running("standalone", folder / "log", {**ports, **folders, "CHAT_MEDIA_PROCESSES": 1}) as started:
        yield started


def run(service: ServiceProcess, program: str, *command: str) -> str:
    """Run a program of the page at the port of this server, and return what it prints."""
    assert "ws://127.0.0.1:8000/" in program
    here = program.replace("127.0.0.1:8000", f"127.0.0.1:{service.ports['chat']}")
    done = subprocess.run(command, input=here, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_in_version_1(service: ServiceProcess) -> None:
    assert ANSWER.fullmatch(run(service, VERSION_1, sys.executable, "-").removeprefix("bot ").rstrip())


def test_python_in_version_2(service: ServiceProcess) -> None:
    *_, last = run(service, VERSION_2, sys.executable, "-").splitlines()
    assert ANSWER.fullmatch(last.removeprefix("bot "))


def test_javascript(service: ServiceProcess) -> None:
    if NODE is None:
        pytest.skip("JAVASCRIPT IS NOT TESTED: there is no node on this machine (Debian: apt-get install nodejs)")
    printed = run(service, JAVASCRIPT, NODE, "--experimental-websocket", "--input-type=module", "-")
    assert ANSWER.fullmatch(printed.removeprefix("bot ").rstrip())


def test_our_own_javascript(service: ServiceProcess) -> None:
    if NODE is None:
        pytest.skip("JAVASCRIPT IS NOT TESTED: there is no node on this machine (Debian: apt-get install nodejs)")
    folder = ROOT / "client" / "web"
    (example,) = re.findall(r"^```js\n(.*?)^```", (folder / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert "wss://chat.example" in example
    done = subprocess.run(
        [NODE, "--experimental-websocket", "--input-type=module", "-"],
        input=example.replace("wss://chat.example", f"ws://127.0.0.1:{service.ports['chat']}"),
        cwd=folder, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"It is \d\d:\d\d where you are", done.stdout.splitlines()[-1])


def test_what_websocat_sends_and_shows(service: ServiceProcess, tmp_path: Path) -> None:
    sent = subprocess.run(["printf", PRINTED], check=True, capture_output=True, timeout=20).stdout
    address = f"ws://127.0.0.1:{service.ports['chat']}/connect?clientId=anna&timeZone=Europe/Berlin"
    with connect(address, subprotocols=["chatbot.v1"]) as chat:  # type: ignore[list-item] # a str is all that a Subprotocol is
        chat.send(sent)
        received = chat.recv(timeout=30)
        assert isinstance(received, bytes)
        (tmp_path / "frame").write_bytes(received)
    shown = subprocess.run(
        ["tail", "-c", "+10", str(tmp_path / "frame")], check=True, capture_output=True, text=True, timeout=20
    )
    assert ANSWER.fullmatch(shown.stdout)
