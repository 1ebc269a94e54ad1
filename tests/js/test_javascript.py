"""The JavaScript modules, run by Node's own test runner."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from devtools.servers import ROOT
from frameproto import RequestKind, ResponseKind
from frameproto.connection import CONNECT_PATH, SUBPROTOCOL_V1, SUBPROTOCOL_V2, CloseCode, Parameter, Reconnect
from frameproto.denials import TEMPORARY_DENIALS, DenialCode
from frameproto.v2 import ClientType, Progress, ServerType

HERE = Path(__file__).parent
WEB = ROOT / "client" / "web"
PACKAGES = ROOT / "devtools" / "javascript" / "node_modules"
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
    constants = json.loads(done.stdout)
    token_denials = set(constants.pop("TOKEN_DENIALS"))
    assert token_denials < {code for code in DenialCode if code.reconnect is Reconnect.FRESH_TOKEN}
    assert constants == {
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


@pytest.fixture
def packages() -> Path:
    if NODE is None or not PACKAGES.is_dir():
        pytest.skip("JAVASCRIPT IS NOT CHECKED: there is no node, or no npm that could install the packages")
    return PACKAGES


def test_the_types_are_right(packages: Path) -> None:
    assert NODE is not None
    compiler = packages / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [NODE, str(compiler), "-p", str(WEB)], check=False, capture_output=True, text=True, timeout=110
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("ours", "theirs"), [("marked.esm.js", "lib/marked.esm.js"), ("marked.LICENSE", "LICENSE")], ids=["code", "licence"]
)
def test_the_library_in_the_page_is_the_one_that_is_locked(packages: Path, ours: str, theirs: str) -> None:
    copy = WEB / "chat_web" / "static" / "vendor" / ours
    assert copy.read_bytes() == (packages / "marked" / theirs).read_bytes()


def test_the_documentation_names_the_library_as_it_is() -> None:
    library = (WEB / "chat_web" / "static" / "vendor" / "marked.esm.js").read_bytes()
    locked = json.loads((PACKAGES.parent / "package-lock.json").read_text("utf-8"))["packages"]["node_modules/marked"]
    documented = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert f"marked v{locked['version']} " in library.decode()
    assert f"marked {locked['version']}" in documented
    assert hashlib.sha256(library).hexdigest() in documented


def test_the_package_has_what_it_exports() -> None:
    package = json.loads((WEB / "package.json").read_text("utf-8"))
    for target in package["exports"].values():
        assert (WEB / target).is_file()
    if NODE is None:
        pytest.skip(MISSING)
    names = [name.replace(".", package["name"], 1) for name in package["exports"]]
    script = "".join(f"await import({json.dumps(name)});" for name in names)
    subprocess.run([NODE, "--input-type=module", "-e", script], cwd=WEB, check=True, capture_output=True, timeout=60)
