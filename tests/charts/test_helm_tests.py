"""The scripts of `helm test`, run as they are rendered against a running chatbot; only paths and addresses differ."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devtools.processes import ServiceProcess, running
from devtools.programs import settings_of
from servicekit.tokens import mint
from tests.charts.cases import LEAST, SWITCHES
from tests.charts.release import merged, release

SECRETS = "the-first-secret-that-signs-client-tokens, an-older-secret-that-is-on-its-way-out"
AUDIENCE = "rooms"
WRITABLE = "/tmp"  # in the pod
TESTS = ["connect", "denied", "history"]
VALUES = merged(LEAST, {"auth": {"audience": AUDIENCE}})


@pytest.fixture(scope="module")
def chatbot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A chatbot that asks for tokens, as a release does."""
    folder = tmp_path_factory.mktemp("chatbot")
    service_token = _token("chat", scope="ingest")
    ports = {f"{part}_{port}": 0 for part in ("CHAT", "HISTORY") for port in ("PORT", "METRICS_PORT")}
    of_both = {
        f"{part}_{name}": value
        for part in ("CHAT", "HISTORY")
        for name, value in {
            "AUTH": "jwt",
            "TOKEN_SECRETS": SECRETS,
            "TOKEN_AUDIENCE": AUDIENCE,
            "DATA_DIR": folder / part.lower(),
        }.items()
    }
    settings = {**ports, **of_both, "CHAT_HISTORY_TOKEN": service_token, "CHAT_MEDIA_PROCESSES": 1}
    with running("standalone", folder / "log", settings) as service:
        yield service


def _token(subject: str, scope: str | None = None) -> str:
    secret = SECRETS.split(",", maxsplit=1)[0]
    return mint(secret, subject=subject, audience=AUDIENCE, lifetime=timedelta(minutes=5), scope=scope)


def _run(
    test: str, chatbot: ServiceProcess, folder: Path, values: dict[str, Any], **other: str
) -> subprocess.CompletedProcess[str]:
    """Run the script of a test pod with the environment that the pod would have."""
    pod = release(values).one("Pod", f"-test-{test}")["spec"]
    (container,) = pod["containers"]
    secrets = {"token-secrets": SECRETS, "token": _token("helm-test")}
    given: dict[str, str] = {
        one["name"]: one.get("value") or secrets[one["valueFrom"]["secretKeyRef"]["key"]] for one in container["env"]
    }
    variables = {name: value.replace(WRITABLE, str(folder)) for name, value in given.items()} | {
        "CHAT_URL": f"ws://127.0.0.1:{chatbot.ports['chat']}",
        "CHAT_HISTORY_URL": f"http://127.0.0.1:{chatbot.ports['history']}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **other,
    }
    (script,) = container["args"]
    return subprocess.run(
        [*container["command"], script.replace(WRITABLE, str(folder))],
        env=settings_of(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("test", TESTS)
def test_it_passes_where_everything_works(test: str, chatbot: ServiceProcess, tmp_path: Path) -> None:
    ended = _run(test, chatbot, tmp_path, VALUES)
    assert ended.returncode == 0, ended


def test_a_token_of_ones_own_is_taken_as_it_is() -> None:
    pod = release(SWITCHES["tests with a token"]).one("Pod", "-test-connect")["spec"]
    (container,) = pod["containers"]
    (script,) = container["args"]
    assert script.startswith("printenv TOKEN > /tmp/token\n")
    assert {"name": "client-token", "key": "token"} in [
        one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one
    ]


def test_a_secret_that_is_another_is_noticed(chatbot: ServiceProcess, tmp_path: Path) -> None:
    ended = _run("connect", chatbot, tmp_path, VALUES, CHAT_TOKEN_SECRET="a-secret-that-this-chatbot-does-not-know")
    assert ended.returncode == 3, ended
    assert "401" in ended.stderr


def test_a_refusal_for_another_reason_is_noticed(chatbot: ServiceProcess, tmp_path: Path) -> None:
    ended = _run("denied", chatbot, tmp_path, VALUES, CHAT_URL="ws://127.0.0.1:9")
    assert ended.returncode == 1
    assert "was not refused: exit code 5" in ended.stdout


LEARNS = """\
#!/bin/sh
echo asked >> {folder}/asked
if [ "$(wc -l < {folder}/asked)" -le {times} ]; then echo "refused: 503 limits_learning" >&2; exit 3; fi
echo hello
"""


@pytest.mark.parametrize(("times", "code"), [(2, 0), (1000, 3)], ids=["for a while", "for ever"])
def test_a_store_that_learns_right_after_an_install_is_waited_for(
    times: int, code: int, chatbot: ServiceProcess, tmp_path: Path
) -> None:
    values = merged(VALUES, {"limits": {"leaseSeconds": 5}, "tests": {"tokenSecret": "client-token"}})
    for name, text in {"chat-client": LEARNS.format(folder=tmp_path, times=times), "sleep": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    ended = _run("connect", chatbot, tmp_path, values, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == code
    asked = len((tmp_path / "asked").read_text().splitlines())
    assert asked == (3 if code == 0 else 30 + 2 * 5)
    assert ("hello" in ended.stdout) if code == 0 else ("limits_learning" in ended.stderr)


def test_a_history_that_has_nothing_is_noticed(chatbot: ServiceProcess, tmp_path: Path) -> None:
    for name, does in {"chat-client": "echo somebody else said something", "sleep": ":"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    ended = _run("history", chatbot, tmp_path, VALUES, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 1
    assert "history does not have it after a minute; last seen: somebody else said something" in ended.stdout


@pytest.mark.parametrize("test", TESTS)
def test_the_pod_is_a_test_that_cleans_up_after_itself(test: str) -> None:
    pod = release(VALUES).one("Pod", f"-test-{test}")
    assert pod["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    assert pod["spec"]["restartPolicy"] == "Never"
    (container,) = pod["spec"]["containers"]
    assert container["image"] == release(VALUES).container("chat")["image"]


def test_tests_can_be_left_out() -> None:
    assert release(SWITCHES["bare"]).all("Pod") == []
