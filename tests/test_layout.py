"""Who may import whom, and that a name of a class says which one it is."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("libs", "apps", "client", "loadtest", "bench", "devtools")
MAY_IMPORT = {
    "frameproto": set(),
    "permits": set(),
    "servicekit": set(),
    "botkit": {"frameproto"},
    "chat_client": {"frameproto", "servicekit"},
    "chat_service": {"botkit", "frameproto", "permits", "servicekit"},
    "history_service": {"frameproto", "servicekit"},
    "standalone": {"chat_service", "history_service", "frameproto", "permits", "servicekit"},
}
"""Which of our own packages a package may import: arrows point from apps to libs only."""

TWINS = {
    *("Asked", "Chat", "History"),  # chat_client.sync has the names of chat_client
    *("Message", "Session", "SignedUrl"),  # as history writes them, and as its client reads them
    *("Utf8", "_Console"),  # permits, which imports no other package of ours, and chat_client
}
"""Names of two classes that are the same thing in two places."""


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*.py") if "node_modules" not in file.parts)


def folder_of(package: str) -> Path:
    (folder,) = (
        found for kind in ("libs", "apps", "client") for found in (ROOT / kind).glob(f"**/{package}/__init__.py")
    )
    return folder.parent


def module_name(file: Path, package: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needed(file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that a file imports from: of `from package import module`, the module only."""
    found = set(imports(file))
    for name in found & modules.keys():
        members = {other for other in found if other.rpartition(".")[0] == name}
        if not members or not members <= modules.keys():
            yield name


def test_nothing_outside_tests_imports_from_tests() -> None:
    files = [file for folder in PRODUCT for file in sources(ROOT / folder)]
    assert len(files) > 200
    found = [
        f"{file.relative_to(ROOT)}: {name}" for file in files for name in imports(file) if name.split(".")[0] == "tests"
    ]
    assert found == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_is_below_them(package: str) -> None:
    files = list(sources(folder_of(package)))
    assert files
    ours = set(MAY_IMPORT) - {package}
    found = {
        (file.name, name)
        for file in files
        for name in imports(file)
        if name.split(".")[0] in ours - MAY_IMPORT[package]
    }
    assert found == set()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_modules_of_a_package_do_not_import_each_other_in_a_circle(package: str) -> None:
    folder = folder_of(package)
    modules = {module_name(file, folder): file for file in sources(folder)}
    graph = {name: set(needed(file, modules)) - {name} for name, file in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]))


def test_classes_that_differ_do_not_share_a_name() -> None:
    files = [file for folder in PRODUCT for file in sources(ROOT / folder)]
    names = Counter(
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert {name: count for name, count in names.items() if count > 1} == dict.fromkeys(TWINS, 2)
