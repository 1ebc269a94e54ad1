"""The JavaScript modules, run by Node's own test runner."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from frameproto import RequestKind, ResponseKind
from frameproto.connection import CONNECT_PATH, SUBPROTOCOL_V1, SUBPROTOCOL_V2, TEMPORARY_DENIALS, CloseCode, Parameter
from frameproto.v2 import ClientType, Progress, ServerType

HERE = Path(__file__).parent
NODE = shutil.which("node")
MISSING = "JAVASCRIPT IS NOT TESTED: there is no node on this machine (Debian: apt-get install nodejs)"


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_javascript(file: Path) -> None:
    if NODE is None:
        pytest.skip(MISSING)
    done = subprocess.run([NODE, "--test", str(file)], check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout


def test_constants_are_those_of_python() -> None:
    if NODE is None:
        pytest.skip(MISSING)
    done = subprocess.run([NODE, str(HERE / "constants.mjs")], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {
        "CLOSE_CODES": {str(int(code)): code.reconnect.name.lower() for code in CloseCode},
        "CONNECT_PATH": CONNECT_PATH,
        "Parameter": {parameter.name: parameter.value for parameter in Parameter},
        "ResponseKind": {kind.name: int(kind) for kind in ResponseKind},
        "RequestKind": {kind.name: int(kind) for kind in RequestKind},
        "ClientType": {kind.name: int(kind) for kind in ClientType},
        "ServerType": {kind.name: int(kind) for kind in ServerType},
        "Progress": {progress.name: int(progress) for progress in Progress},
        "TEMPORARY_DENIALS": sorted(TEMPORARY_DENIALS),
        "SUBPROTOCOL_V1": SUBPROTOCOL_V1,
        "SUBPROTOCOL_V2": SUBPROTOCOL_V2,
    }
