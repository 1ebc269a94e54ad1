"""The service in the README runs."""

import ast
import re
import signal
import subprocess
import sys
from pathlib import Path

from devtools.servers import ROOT
from tests.servicekit.tiny import wait_until
from tests.support.pages import python_examples


def test_the_example_is_served_until_a_signal_comes(tmp_path: Path) -> None:
    (example,) = python_examples("libs/servicekit/README.md")
    (tmp_path / "tea.py").write_text(example)
    with (tmp_path / "output").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "tea.py"], cwd=tmp_path, stdout=out, stderr=out, env={"TEA_PORT": "0"}
        )
    try:
        wait_until(lambda: "listening" in (tmp_path / "output").read_text(), "it does not start")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_each_module_has_its_line() -> None:
    page = (ROOT / "libs" / "servicekit" / "README.md").read_text()
    package = ROOT / "libs" / "servicekit" / "servicekit"
    modules = {path.stem for path in package.iterdir() if path.stem.isidentifier() and path.suffix in {"", ".py"}}
    modules -= {"__init__", "__pycache__"}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == modules


def imported(module: str) -> set[str]:
    """What a module, or a package, imports of servicekit."""
    package = ROOT / "libs" / "servicekit" / "servicekit"
    sources = [package / f"{module}.py"] if (package / f"{module}.py").exists() else (package / module).rglob("*.py")
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("servicekit."):
                found.add(str(node.module).split(".")[1])
    return found - {module}


def test_each_module_imports_what_its_line_says() -> None:
    page = (ROOT / "libs" / "servicekit" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([^|]*) \|$", page, re.MULTILINE)
    assert rows
    assert {name: set(re.findall(r"\w+", others)) for name, others in rows} == {
        name: imported(name) for name, _ in rows
    }


def test_settings_need_no_tokens() -> None:
    reached, left = set(), ["settings"]
    while left:
        module = left.pop()
        if module not in reached:
            reached.add(module)
            left += imported(module)
    assert "tokens" not in reached
