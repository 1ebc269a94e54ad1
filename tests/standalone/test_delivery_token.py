"""Standalone with tokens: it delivers without being given a token, and the commands that it prints work."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from devtools.processes import ServiceProcess, running
from devtools.programs import run_to_its_end
from devtools.servers import ROOT

SECRET = "a secret of at least thirty-two bytes"
BOTH = {
    "CHAT_AUTH": "jwt",
    "HISTORY_AUTH": "jwt",
    "CHAT_TOKEN_SECRETS": SECRET,
    "HISTORY_TOKEN_SECRETS": f"{SECRET},another one of at least thirty-two bytes",
}


def printed_commands(service: ServiceProcess, *words: str) -> list[str]:
    """Return the commands that the program prints, of these kinds, as they stand there."""
    lines = [line.strip() for line in service.printed("Ctrl-C stops it").splitlines() if line.startswith("  ")]
    return [line for word in words for line in lines if shlex.split(line)[1:2] == [word]]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="by default"),
        pytest.param(
            {f"{part}_TOKEN_{name}": value for part in ("CHAT", "HISTORY") for name, value in
             {"AUDIENCE": "our chatbot", "ISSUER": "us"}.items()},
            id="with an audience and an issuer",
        ),
        pytest.param({"HISTORY_AUTH": "none"}, id="chat only"),
        pytest.param({"CHAT_AUTH": "none"}, id="history only"),
    ],
)  # fmt: skip
def test_the_printed_commands_work_and_what_is_said_reaches_history(
    tmp_path: Path, settings: dict[str, object], more: dict[str, str]
) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    with running("standalone", tmp_path / "log", {**settings, **BOTH, **more}) as service:
        commands = printed_commands(service, "token", "send", "history")
        assert len(commands) == 3
        for command in commands:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=tmp_path,
                env={**clean, "CHAT_TOKEN_SECRET": SECRET},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
        assert service.stop() == 0, "nothing is left in the outbox"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"HISTORY_TOKEN_SECRETS": "a secret of history that is long enough"}, id="secrets"),
        pytest.param({"HISTORY_TOKEN_AUDIENCE": "history"}, id="audiences"),
    ],
)
def test_services_that_take_different_tokens_are_told_with_a_token_each(
    tmp_path: Path, settings: dict[str, object], more: dict[str, str]
) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    with running("standalone", tmp_path / "log", {**settings, **BOTH, **more}) as service:
        first, second = printed_commands(service, "token")
        (send,), (read,) = printed_commands(service, "send"), printed_commands(service, "history")
        for command, secret in (
            (first, SECRET),
            (send, SECRET),
            (second, more.get("HISTORY_TOKEN_SECRETS", SECRET)),
            (read, ""),
        ):
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=tmp_path,
                env={**clean, "CHAT_TOKEN_SECRET": secret},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)


def test_history_that_only_an_issuer_signs_for_needs_a_token_of_the_issuer(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    ended = run_to_its_end(
        "standalone",
        tmp_path,
        **settings,
        HISTORY_AUTH="jwt",
        HISTORY_TOKEN_JWKS_FILE=tmp_path / "keys.json",
        HISTORY_MEDIA_ADDRESS_SECRETS=SECRET,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("HISTORY_AUTH=jwt without HISTORY_TOKEN_SECRETS needs CHAT_HISTORY_TOKEN")
    assert ended.stderr.count("\n") == 1


def test_chat_that_delivers_elsewhere_needs_a_token(tmp_path: Path, settings: dict[str, object]) -> None:
    ended = run_to_its_end("standalone", tmp_path, **settings, **BOTH, CHAT_HISTORY_URL="http://127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "CHAT_AUTH=jwt needs CHAT_HISTORY_TOKEN" in ended.stderr
