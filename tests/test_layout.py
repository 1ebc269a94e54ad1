"""Who may import whom: nothing outside tests imports from tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("libs", "apps", "client", "loadtest", "bench", "devtools")


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_nothing_outside_tests_imports_from_tests() -> None:
    files = [file for folder in PRODUCT for file in (ROOT / folder).rglob("*.py") if "node_modules" not in file.parts]
    assert len(files) > 200
    found = [
        f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file) if name.split(".")[0] == "tests"
    ]
    assert found == []
