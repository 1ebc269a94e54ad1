"""The Dockerfiles of the services: clean by hadolint, and true to what the packages need."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chat_service.media.model import FOLDER, PARTS

ROOT = Path(__file__).parents[2]
DOCKERFILES = {
    "chat": ROOT / "apps/chat/Dockerfile",
    "history": ROOT / "apps/history/Dockerfile",
    "stores": ROOT / "tests/cluster/stores/Dockerfile",
}
SERVICES = {"chat": ["apps/chat", "client", "client/web"], "history": ["apps/history"]}
HADOLINT = Path(sys.executable).with_name("hadolint")
OURS = "chatbot-"
NOT_IN_IMAGES = {"speech", "voice"}
"""Extras that bring models of hundreds of megabytes; the target `speech` adds them."""
MORE_STAGES = {"chat": ["run"], "history": []}


def folders() -> dict[str, Path]:
    """Return the folder of each of our packages by its name."""
    members = [*ROOT.glob("libs/*"), *ROOT.glob("apps/*"), ROOT / "client", ROOT / "client/web"]
    return {project(folder)["name"]: folder for folder in members if (folder / "pyproject.toml").exists()}


def project(folder: Path) -> dict[str, Any]:
    return dict(tomllib.loads((folder / "pyproject.toml").read_text())["project"])


def name_of(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower()


def needs(folder: Path) -> set[str]:
    """Return the names of everything that a package asks for, extras included but for those that images leave out."""
    facts = project(folder)
    extras = facts.get("optional-dependencies", {})
    groups = [facts.get("dependencies", []), *(extras[name] for name in extras.keys() - NOT_IN_IMAGES)]
    return {name_of(requirement) for group in groups for requirement in group}


def packages_of(service: str) -> set[Path]:
    """Return our packages that a service's image holds: its own, and what these need of ours."""
    known, found = folders(), {ROOT / own for own in SERVICES[service]}
    while more := {known[name] for folder in found for name in needs(folder) if name.startswith(OURS)} - found:
        found |= more
    return found


def locked(name: str) -> dict[str, str]:
    """Return the lines of a lock that name a package, by that name."""
    lines = (ROOT / f"requirements/{name}.txt").read_text().splitlines()
    return {line.split("==")[0]: line for line in lines if re.match(r"[a-z0-9]", line)}


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    found = subprocess.run([HADOLINT, dockerfile], capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python:latest\nRUN pip install starlette\n")
    found = subprocess.run([HADOLINT, careless], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode != 0
    assert "DL3007" in found.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_it_builds_exactly_the_packages_that_the_service_needs(service: str) -> None:
    text = DOCKERFILES[service].read_text()
    wheel = re.search(r"pip wheel .*?\\\n(.*?)\\\n", text, re.DOTALL)
    assert wheel
    built = {ROOT / path for path in wheel[1].split()}
    assert built == packages_of(service)
    build_stage = text.partition("AS run")[0]
    for folder in built:
        path = folder.relative_to(ROOT)
        copied = [one for one in (path, *path.parents) if f"COPY {one} {one}\n" in build_stage]
        assert copied, f"{path} is not in the build"


@pytest.mark.parametrize("service", SERVICES)
def test_its_lock_holds_what_the_service_needs_in_the_versions_that_were_tested(service: str) -> None:
    lock, tested = locked(service), locked("run")
    asked = {name for folder in packages_of(service) for name in needs(folder) if not name.startswith(OURS)}
    assert asked - set(lock) == set()
    assert {name: line for name, line in lock.items() if tested.get(name) != line} == {}


def test_the_locks_hold_together_all_that_runs() -> None:
    left = set(locked("run")) - set(locked("build")) - set(locked("chat")) - set(locked("history"))
    assert left == set(), "./taskw lock"


def test_the_locks_keep_the_services_apart() -> None:
    assert "motor" not in locked("chat")
    assert "av" not in locked("history")


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_is_root_and_every_base_is_the_one_that_was_asked_for(service: str) -> None:
    lines = DOCKERFILES[service].read_text().splitlines()
    assert [line for line in lines if line.startswith("ARG BASE_IMAGE")] == ["ARG BASE_IMAGE=python:3.11-slim-bookworm"]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases == ["${BASE_IMAGE}", "${BASE_IMAGE}", "run", *MORE_STAGES[service], "run"]
    stages = DOCKERFILES[service].read_text().split("\nFROM ")[2:]
    users = [re.findall(r"^USER (\S+)$", stage, re.MULTILINE) for stage in stages]
    assert users[0] == ["10001:10001"]
    assert [given[-1] for given in users if given] == ["10001:10001"] * (len(stages) - 1)


@pytest.mark.parametrize("service", SERVICES)
def test_every_install_is_checked_by_hash(service: str) -> None:
    text = DOCKERFILES[service].read_text().replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&\n]*)", text)
    assert len(installs) == 4 + len(MORE_STAGES[service])
    for arguments in installs:
        assert "--require-hashes" in arguments or arguments.split() == ["--no-deps", "--no-index", "/wheels/*.whl"]


def test_the_image_with_speech_holds_its_extras_in_the_versions_that_were_tested() -> None:
    (stage,) = (one for one in DOCKERFILES["chat"].read_text().split("\nFROM ") if one.startswith("run AS speech\n"))
    assert "requirements/speech.txt" in stage
    assert f"-m chat_service.media.model /app/{FOLDER.relative_to(sys.prefix)} " in stage
    extras = project(ROOT / "apps/chat")["optional-dependencies"]
    lock, tested, chat = (
        {name: line.split()[0] for name, line in locked(one).items()} for one in ("speech", "dev", "chat")
    )
    assert {name_of(requirement) for extra in NOT_IN_IMAGES for requirement in extras[extra]} <= set(lock)
    assert {name: version for name, version in lock.items() if tested.get(name) != version} == {}
    assert {name: lock[name] for name in lock.keys() & chat.keys() if lock[name] != chat[name]} == {}
    for package, _ in PARTS:
        assert f" {package.replace('_', '-')}" in stage.partition("uninstall --yes")[2]


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_of_any_user_may_enter_its_folder(service: str) -> None:
    """A service looks for `.env` where it is started, and OpenShift starts it as anybody, of the group 0."""
    text = DOCKERFILES[service].read_text()
    assert re.findall(r"^WORKDIR (\S+)$", text.partition(" AS run")[2].partition(" AS dev")[0], re.MULTILINE) == [
        "/app"
    ]
    assert "--group 0 --mode 0770 /data" in text
