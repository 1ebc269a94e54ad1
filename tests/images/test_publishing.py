"""From source to a registry: the tools that build, push and package, and the workflow that calls them."""

import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from devtools import charts
from devtools.ports import free_port
from devtools.servers import server
from tests.charts.cases import LEAST
from tests.charts.release import NAME, NAMESPACE

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "devtools/images.sh"
VERSION = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())["version"]
PLATFORMS = "linux/amd64,linux/arm64"
CHARTS_BIN = Path(os.environ.get("CHATBOT_CHARTS") or ROOT / ".venv-charts") / "bin"
REGISTRY = shutil.which("docker-registry") or shutil.which(CHARTS_BIN / "docker-registry")
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}


def _run(folder: Path, *words: str, programs: tuple[str, ...], **variables: str) -> tuple[int, list[str], str]:
    """Run the script where only these programs are; return its exit code, what it called, and what it said."""
    called = folder / "called"
    programs_folder = folder / "bin"
    programs_folder.mkdir(exist_ok=True)
    for name in ("sh", "sed", "git", "dirname", "mktemp", "rm"):
        found = shutil.which(name)
        if found and not (programs_folder / name).exists():
            (programs_folder / name).symlink_to(found)
    for name in programs:
        buildx = '[ "$1" = buildx ] && [ "$2" = version ] && exit 0\n'
        (programs_folder / name).write_text(f'#!/bin/sh\n{buildx}echo "{name} $*" >> {called}\n')
        (programs_folder / name).chmod(0o755)
    done = subprocess.run(
        ["sh", SCRIPT, *words],
        env={"PATH": str(programs_folder), "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, called.read_text().splitlines() if called.exists() else [], done.stderr


def test_buildx_is_taken_where_it_is_there(tmp_path: Path) -> None:
    code, called, _ = _run(tmp_path, "build", "chat", programs=("docker", "buildah"))
    assert code == 0
    (line,) = called
    assert line.startswith("docker buildx build --file apps/chat/Dockerfile ")
    assert f"--build-arg VERSION={VERSION}" in line
    assert line.endswith(f"--load --tag chatbot-chat:{VERSION} .")


@pytest.mark.parametrize(("part", "target"), [("chat", ""), ("chat-speech", "--target speech ")])
def test_speech_is_a_target_of_the_image_of_chat(part: str, target: str, tmp_path: Path) -> None:
    code, (line,), _ = _run(tmp_path, "build", part, programs=("docker",))
    assert code == 0
    assert line.startswith("docker buildx build --file apps/chat/Dockerfile ")
    assert re.findall(r"--target \S+ ", line) == [target] * bool(target)
    assert line.endswith(f"--tag chatbot-{part}:{VERSION} .")


@pytest.mark.parametrize("program", ["buildah", "podman"])
def test_without_docker_others_do(program: str, tmp_path: Path) -> None:
    variables = {
        "REGISTRY": "registry.example.com/team/",
        "TAG": "7",
        "PLATFORMS": PLATFORMS,
        "BASE_IMAGE": "base@sha256:0",
    }
    code, called, _ = _run(tmp_path, "build", programs=(program,), **variables)
    assert code == 0
    assert [re.findall(r"--manifest (\S+)", line) for line in called] == [
        [f"registry.example.com/team/chatbot-{part}:7"] for part in ("chat", "history", "loadtest")
    ]
    assert all(f"--platform {PLATFORMS}" in line and "--build-arg BASE_IMAGE=base@sha256:0" in line for line in called)
    code, called, _ = _run(tmp_path, "push", "history", programs=(program,), **variables)
    image = "registry.example.com/team/chatbot-history:7"
    assert called[-1] == f"{program} manifest push --all {image} docker://{image}"


def test_what_is_pushed_has_an_sbom_and_its_provenance(tmp_path: Path) -> None:
    variables = {"REGISTRY": "registry.example.com", "PLATFORMS": PLATFORMS}
    code, (line,), _ = _run(tmp_path, "push", "chat", programs=("docker",), **variables)
    assert code == 0
    assert "--push --provenance=mode=max --sbom=true" in line


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ("docker", [f"kind load docker-image chatbot-chat:{VERSION} --name chatbot"]),
        ("podman", [f"podman push chatbot-chat:{VERSION} docker-archive:", "kind load image-archive "]),
    ],
)
def test_images_get_into_kind(program: str, called: list[str], tmp_path: Path) -> None:
    code, lines, _ = _run(tmp_path, "load", "chat", programs=(program, "kind"))
    assert code == 0
    assert all(line.startswith(start) for line, start in zip(lines, called, strict=True))


@pytest.mark.parametrize(
    ("words", "programs", "variables", "said"),
    [
        (["push"], ("docker",), {}, "REGISTRY is needed to push"),
        (["build"], (), {}, "there is none of docker, buildah and podman"),
        (["build", "web"], ("docker",), {}, "there is no image of web"),
        (["load", "chat"], ("docker",), {}, "needs kind"),
        (["load"], ("docker", "kind"), {"PLATFORMS": PLATFORMS}, "kind takes images of one architecture"),
        (["remove"], ("docker",), {}, "usage: images.sh build|push|load"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str], programs: tuple[str, ...], variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    code, called, err = _run(tmp_path, *words, programs=programs, **variables)
    assert code != 0
    assert called == []
    assert said in err


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine; HOST:PORT."""
    if REGISTRY is None:
        pytest.skip("NOT CHECKED: pushing the chart; no docker-registry (Debian's package of that name)")
    address = f"127.0.0.1:{free_port()}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(yaml.safe_dump(config))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with server([REGISTRY, "serve", tmp_path / "registry.yml"], tmp_path / "log", answers):
        yield address


def test_the_chart_comes_from_a_registry_as_it_was_packaged(registry: str, tmp_path: Path) -> None:
    archive = charts.package(tmp_path / "charts", f"{registry}/team")
    assert charts.newest(archive.parent) == archive
    charts.push(archive, f"oci://{registry}/charts", plain_http=True)
    helm.pull(f"oci://{registry}/charts/chatbot", version=VERSION, destination=tmp_path, plain_http=True)
    rendered = helm.Chart.load(tmp_path / f"chatbot-{VERSION}.tgz").render(LEAST, name=NAME, namespace=NAMESPACE)
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    pages = [one for text in texts for one in yaml.safe_load_all(text) if one]
    images = {
        container["image"]
        for one in pages
        if isinstance(one, dict) and one.get("kind") == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"{registry}/team/chatbot-{part}:{VERSION}" for part in ("chat", "history")}


def test_artifact_hub_is_told_the_images_of_this_version() -> None:
    about = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())
    images = yaml.safe_load(about["annotations"]["artifacthub.io/images"])
    assert {one["image"] for one in images} == {
        f"chatbot-{part}:{about['appVersion']}" for part in ("chat", "chat-speech", "history")
    }
    assert yaml.safe_load(about["annotations"]["artifacthub.io/changes"])


def _steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_little_and_ends(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert set(job.get("permissions", {})) <= {"contents", "packages", "id-token"}
    for step in _steps(workflow):
        assert ("uses" in step) != ("run" in step)
        if "run" in step:
            assert "${{" not in step["run"], "a value from outside would become part of the script"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_work_of_others_is_named_by_its_commit(name: str) -> None:
    """A tag can be moved to something else; the comment says which one the commit had."""
    lines = (ROOT / f".github/workflows/{name}.yml").read_text().splitlines()
    used = [line.partition("uses: ")[2] for line in lines if "uses: " in line]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_calls_tasks_that_are_there(name: str) -> None:
    tasks = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
    scripts = "\n".join(step.get("run", "") for step in _steps(WORKFLOWS[name]))
    assert set(re.findall(r"\./taskw (\S+)", scripts)) <= tasks.keys()
    for path in re.findall(r"(?:apps|charts|\.ci)/[\w./-]+", scripts):
        assert (ROOT / path).exists() or path == "charts/chatbot"


def test_a_release_signs_all_that_it_pushes_and_builds_on_a_digest() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert jobs["images"]["strategy"]["matrix"]["part"] == ["chat", "chat-speech", "history", "loadtest"]
    assert jobs["images"]["env"]["BASE_IMAGE"] == "${{ needs.version.outputs.base }}"
    for job in ("images", "chart"):
        scripts = [step.get("run", "") for step in jobs[job]["steps"]]
        assert any("push" in script for script in scripts[:-1])
        assert "cosign sign --yes" in scripts[-1]
        assert "@" in scripts[-1].split("cosign sign --yes")[1]
        assert jobs[job]["permissions"]["id-token"] == "write"
