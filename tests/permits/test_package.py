"""The package as strangers get it: what is in it, what it needs, and that its documentation works when copied."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from devtools.servers import ROOT
from devtools.valkey import run_valkey
from tests.support.pages import python_examples

PACKAGE = ROOT / "libs" / "permits"
STORE = "redis://127.0.0.1:6379/0"
"""The address in the documentation."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PACKAGE, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> "Message[str, str]":
    with ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(files.read(name))


def test_the_wheel_tells_what_it_is(wheel: Path, metadata: "Message[str, str]") -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {url.split(",")[0] for url in metadata.get_all("Project-URL", [])} == {
        "Changelog",
        "Documentation",
        "Homepage",
        "Source",
    }
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    described = metadata.get_payload(decode=True)
    assert isinstance(described, bytes)
    assert described.decode().strip() == (PACKAGE / "README.md").read_text().strip()
    with ZipFile(wheel) as files:
        names = set(files.namelist())
        (licence,) = [name for name in names if name.endswith("/licenses/LICENSE")]
        assert files.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert "permits/py.typed" in names


def test_the_core_needs_nothing_but_python(wheel: Path, metadata: "Message[str, str]", tmp_path: Path) -> None:
    required = metadata.get_all("Requires-Dist", [])
    assert all("extra ==" in requirement for requirement in required)
    with ZipFile(wheel) as files:
        files.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import asyncio, permits, permits.memory, permits.sync\n"
        "async def main():\n"
        "    async with permits.memory.MemoryPool('a', capacity=1) as pool, pool.permit('a', wait_seconds=0):\n"
        "        print(permits.__file__)\n"
        "asyncio.run(main())\n"
    )
    bare = [sys.executable, "-I", "-S", "-W", "error", "-c", program]  # without any installed package
    said = subprocess.run(bare, check=True, capture_output=True, text=True).stdout
    assert Path(said.strip()).is_relative_to(tmp_path)


def test_nothing_of_ours_is_imported() -> None:
    allowed = {"permits", "redis", "hiredis", "click", "rich"}
    for file in (PACKAGE / "permits").rglob("*.py"):
        foreign = {name for name in imported(file) if name not in sys.stdlib_module_names} - allowed
        assert not foreign, f"{file.name} imports {foreign}"


def imported(file: Path) -> Iterator[str]:
    """Return the top-level packages that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def blocks(document: str) -> list[str]:
    """Return the programs in a document."""
    return python_examples(f"libs/permits/{document}")


def run(program: str, folder: Path) -> str:
    """Run a program that was copied from a document; return what it prints."""
    file = folder / "test_copied.py"
    file.write_text(program)
    command = [sys.executable, "-W", "error", str(file)]
    if "import pytest" in program:
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        )
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{program}"
    return done.stdout


README = [
    "a report for anna\n",
    r"line 0 for anna\nline 1 for anna\nline 2 for anna\nticket \d+\n",
    "alone, or with nine others\nTrue\n",
    r"(?s).*2 passed.*",
]
"""What each block of the README prints, in a pattern."""


def test_the_readme_works_on_a_fresh_store(tmp_path: Path) -> None:
    programs = blocks("README.md")
    with run_valkey(tmp_path) as valkey:
        for program, expected in zip(programs, README, strict=True):
            assert re.fullmatch(expected, run(program.replace(STORE, valkey.url), tmp_path))


def test_the_readme_works_without_a_store(tmp_path: Path) -> None:
    for program, expected in zip(blocks("README.md"), README, strict=True):
        in_memory = program.replace("permits.redis import RedisPool", "permits.memory import MemoryPool as RedisPool")
        assert re.fullmatch(expected, run(in_memory.replace("redis=redis, ", ""), tmp_path))


def test_the_documentation_is_typed(tmp_path: Path) -> None:
    for number, program in enumerate([*blocks("README.md"), *blocks("docs/cron.md"), *blocks("docs/fastapi.md")]):
        (tmp_path / f"program_{number}.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_links_of_the_readme_work_on_a_package_index() -> None:
    source = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["urls"]["Source"]
    forge = source.removesuffix("libs/permits")
    links = re.findall(r"\]\(([^)]+)\)", (PACKAGE / "README.md").read_text())
    assert links
    for link in links:
        assert link.startswith(forge), f"{link} is relative, or leads elsewhere"
        assert (ROOT / link.removeprefix(forge)).exists(), link


TWO_PODS = """
import asyncio, sys
from redis.asyncio import Redis
from permits.redis import PoolOperator, RedisPool

async def main(url):
    for settings in ({}, {"protocol": 3, "decode_responses": True}):
        async with Redis.from_url(url, **settings) as redis:
            await PoolOperator(name := f"pool-{len(settings)}", redis).begin()
            async with RedisPool(name, redis=redis, capacity=1) as one, RedisPool(name, redis=redis, capacity=1) as two:
                permit = await one.acquire("anna", wait_seconds=5)
                waiting = asyncio.create_task(two.acquire("ben", wait_seconds=5))
                while not (await one.state()).waiting:
                    await asyncio.sleep(0.01)
                permit.release()
                print((await waiting).valid())

asyncio.run(main(sys.argv[1]))
"""


def test_it_works_with_the_oldest_versions_that_it_allows(tmp_path: Path) -> None:
    oldest = Path(sys.prefix, "oldest")
    extras = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    floors = dict(needed.split(">=") for extra in extras.values() for needed in extra if ">=" in needed)
    for name, floor in floors.items():
        (folder,) = oldest.glob(f"{name}-*.dist-info")
        assert f"{folder.stem}.".startswith(f"{name}-{floor}."), "requirements/oldest.in has another version"
    env = {**os.environ, "PYTHONPATH": str(oldest)}
    with run_valkey(tmp_path) as valkey:
        for command, said in (
            ([sys.executable, "-W", "error", "-c", TWO_PODS, valkey.url], "True\nTrue\n"),
            ([str(Path(sys.executable).with_name("permits")), "show", "--redis", valkey.url], "held 0 of 1"),
        ):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            assert said in done.stdout
