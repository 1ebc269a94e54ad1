"""Who may import whom, that the name of a class says which one it is, and that tests mirror the source."""

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

MIRRORS = {
    "apps/chat/chat_service": "tests/chat",
    "apps/history/history_service": "tests/history",
    "apps/standalone/standalone": "tests/standalone",
    "client/chat_client": "tests/client",
    "libs/botkit/botkit": "tests/botkit",
    "libs/frameproto/frameproto": "tests/frameproto",
    "libs/permits/permits": "tests/permits",
    "libs/servicekit/servicekit": "tests/servicekit",
}
"""Where the tests of a package are. `a/b.py` is tested by `a/test_b.py`, or by several `a/test_b_*.py`."""

TESTED_AS_A_WHOLE = {
    "apps/chat/chat_service/bot": (
        "tests/chat/bot/test_script.py",
        "a script is read, matched and replied from as one",
    ),
    "apps/chat/chat_service/media": (
        "tests/chat/media/test_workers.py",
        "a file passes through all of it, in a process",
    ),
    "apps/chat/chat_service/outbox": (
        "tests/chat/outbox/test_faults.py",
        "crashes and faults of the disk concern it all",
    ),
    "apps/chat/chat_service/uninstall": ("tests/charts/test_uninstall.py", "it runs as the Job that the chart renders"),
    "apps/history/history_service/api/openapi": ("tests/history/api/test_openapi.py", "it is one document"),
    "apps/history/history_service/blobs": ("tests/contract/test_blob_store.py", "one suite for all adapters"),
    "apps/history/history_service/stores": ("tests/contract/test_message_store.py", "one suite for all adapters"),
    "client/chat_client/cli": ("tests/client/cli/test_commands.py", "commands run as processes, and on a terminal"),
    "libs/permits/permits/cli": ("tests/permits/test_cli.py", "commands run as processes, against servers"),
    "libs/permits/permits/redis": ("tests/permits/test_model.py", "it is right only together with the scripts"),
    "libs/servicekit/servicekit/settings": ("tests/servicekit/settings/test_settings.py", "fields are loaded together"),
    "libs/servicekit/servicekit/tokens": ("tests/servicekit/tokens/test_tokens.py", "a token passes through all of it"),
}
"""Folders whose modules need no tests of their own, by whose tests they are tested, and why."""

TESTED_BY_OTHERS = {
    "apps/chat/chat_service/message_handler.py": "tests/chat/test_connection.py",  # a part of the path of a message
    "apps/chat/chat_service/message_work.py": "tests/chat/test_connection.py",  # likewise
    "apps/chat/chat_service/pod.py": "tests/chat/test_connection.py",  # what each connection is given
    "apps/chat/chat_service/setting_fields.py": "tests/chat/test_settings.py",  # types of the settings
    "apps/history/history_service/api/documents.py": "tests/history/api/test_messages.py",  # the JSON of responses
    "apps/history/history_service/backing_stores.py": "tests/history/test_app.py",  # selects stores as the app opens
    "apps/history/history_service/bucket_claim.py": "tests/contract/test_bucket_claim.py",  # against all adapters
    "apps/history/history_service/eraser.py": "tests/contract/test_erasing.py",  # against all adapters
    "apps/history/history_service/metrics.py": "tests/history/test_app.py",  # declarations, but for a switch
    "apps/standalone/standalone/web.py": "tests/standalone/test_standalone.py",  # a part of the running process
    "apps/standalone/standalone/welcome.py": "tests/standalone/test_standalone.py",  # what the process prints
    "client/chat_client/archive_import.py": "tests/client/test_archive.py",  # reads what an export has written
    "client/chat_client/archive_page.py": "tests/client/test_archive.py",  # a part of an export
    "client/chat_client/asked.py": "tests/client/test_chat.py",  # the result of `Chat.ask`
    "client/chat_client/errors.py": "tests/client/test_link.py",  # every error, where it is raised
    "client/chat_client/history_http.py": "tests/client/test_history.py",  # below `History`
    "client/chat_client/history_records.py": "tests/client/test_history.py",  # what `History` returns
    "client/chat_client/tokens.py": "tests/client/cli/test_token.py",  # the library's form of the command
    "libs/botkit/botkit/testing.py": "tests/chat/bot/test_http.py",  # itself a tool of tests
    "libs/frameproto/frameproto/history.py": "tests/history/api/test_openapi.py",  # shapes that both sides check
    "libs/permits/permits/call_future.py": "tests/permits/test_sync.py",  # a part of `SyncPool`
    "libs/permits/permits/observer.py": "tests/contract/test_permit_pool_observer.py",  # against all adapters
    "libs/permits/permits/permit_block.py": "tests/contract/test_permit_pool_use.py",  # against all adapters
    "libs/permits/permits/pool.py": "tests/contract/test_permit_pool_use.py",  # against all adapters
    "libs/permits/permits/sync_worker.py": "tests/permits/test_sync.py",  # a part of `SyncPool`
    "libs/servicekit/servicekit/clock.py": "tests/servicekit/tokens/test_tokens.py",  # one line
    "libs/servicekit/servicekit/cors.py": "tests/history/api/test_cors.py",  # middleware, as a service uses it
    "libs/servicekit/servicekit/http_pace.py": "tests/servicekit/test_bounded_http.py",  # a part of the HTTP server
}
"""Single modules that need no tests of their own, by whose tests they are tested, and why."""


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


def declares_only(file: Path) -> bool:
    """Whether a module has no code to test: constants, enums, dataclasses, exceptions and protocols."""
    functions = (
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in {"__init__", "__new__"}
    )
    return all(is_stub(line) for function in functions for line in function.body)


def is_stub(line: ast.stmt) -> bool:
    return isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))


def has_tests_of_its_own(file: Path, package: str) -> bool:
    folder = (ROOT / MIRRORS[package] / file.relative_to(ROOT / package)).parent
    return (folder / f"test_{file.stem}.py").is_file() or any(folder.glob(f"test_{file.stem}_*.py"))


def test_every_module_has_tests_of_its_own_or_a_reason_for_none() -> None:
    without = {
        str(file.relative_to(ROOT))
        for package in MIRRORS
        for file in sources(ROOT / package)
        if not file.stem.startswith("__") and not declares_only(file) and not has_tests_of_its_own(file, package)
    }
    of_wholes = {name for name in without for folder in TESTED_AS_A_WHOLE if name.startswith(f"{folder}/")}
    assert without - of_wholes == TESTED_BY_OTHERS.keys()


def test_the_tests_that_exceptions_name_are_there() -> None:
    named = {*TESTED_BY_OTHERS.values(), *(tests for tests, _ in TESTED_AS_A_WHOLE.values())}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
