"""What the chart asks a cluster before it installs anything: whether Secrets are there, with the keys that are read."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

from tests.charts.api_server import api_server
from tests.charts.cases import LEAST, OPEN
from tests.charts.release import CHATBOT, NAME, chart, merged, values_file

ROOT = CHATBOT.parents[1]
Secrets = Mapping[str, Mapping[str, str]]
THERE: Secrets = {
    "tokens": {"token-secrets": "eA==", "history-token": "eA=="},
    "redis": {"url": "eA=="},
    "mongodb": {"url": "eA=="},
}


def asked(values: Mapping[str, Any], secrets: Secrets, namespace: str = "rooms") -> str:
    """Render against a cluster that holds these Secrets; return what it is refused by, if it is."""
    with api_server(namespace, secrets) as kubeconfig:
        config = helm.Config(kubeconfig_content=kubeconfig, namespace=namespace)
        try:
            config.render(chart(), dict(values), name=NAME, namespace=namespace)
        except helm.HelmRenderError as exc:
            return str(exc)
        finally:
            config.close()
    return ""


def test_secrets_that_are_there_are_enough() -> None:
    assert asked(LEAST, THERE) == ""


def test_secrets_and_keys_that_are_missing_are_told_at_once() -> None:
    said = asked(LEAST, {"tokens": {"token-secrets": "eA=="}, "redis": {"url": "eA=="}})
    assert "the Secret tokens (auth.existingSecret) has no key history-token" in said
    assert "the Secret mongodb (mongodb.existingSecret) is not in the namespace rooms" in said
    assert "redis" not in said.replace("redis.existingSecret", "")


def test_a_secret_of_a_password_only_is_asked_for_that_key() -> None:
    values = merged(LEAST, {"redis": {"url": "redis://chat@redis:6379/0", "existingSecretPasswordKey": "password"}})
    assert "the Secret redis (redis.existingSecret) has no key password" in asked(values, THERE)
    assert asked(values, {**THERE, "redis": {"password": "eA=="}}) == ""


def test_nothing_is_asked_where_secrets_come_later() -> None:
    assert asked(merged(LEAST, {"checkSecrets": False}), {}) == ""


def test_what_a_release_does_not_read_is_not_asked_for() -> None:
    assert "s3" in asked(OPEN, {})
    cell = merged(OPEN, {"history": {"enabled": False, "url": "http://history:8001"}})
    assert asked(cell, {}) == ""


def _hooks(folder: Path, hooks: list[dict[str, Any]]) -> list[str]:
    """Run hooks of skaffold with a kubectl that writes down what it is told to apply; return the files."""
    (folder / "kubectl").write_text(f'#!/bin/sh\necho "$*" >> {folder}/called\n')
    (folder / "kubectl").chmod(0o755)
    for hook in hooks:
        subprocess.run(
            hook["host"]["command"], cwd=ROOT, env={"PATH": f"{folder}:/usr/bin:/bin"}, check=True, timeout=60
        )
    return [line.rpartition("--filename ")[2] for line in (folder / "called").read_text().splitlines()]


def test_the_second_run_of_skaffold_finds_its_secrets(tmp_path: Path) -> None:
    """The namespace is there from the first run, so the chart asks; its Secrets went with the end of that run."""
    values, namespace = values_file(CHATBOT / "values-dev.yaml"), "chatbot"
    assert "the Secret chatbot-s3 (s3.existingSecret) is not in the namespace chatbot" in asked(values, {}, namespace)
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    assert shutil.which("sh")
    applied = _hooks(tmp_path, skaffold["deploy"]["helm"]["hooks"]["before"])
    made = [one for file in applied if file.endswith(".yaml") for one in yaml.safe_load_all((ROOT / file).read_text())]
    secrets = {one["metadata"]["name"]: dict.fromkeys(one["stringData"], "eA==") for one in made}
    assert asked(values, secrets, namespace) == "", json.dumps(secrets)
