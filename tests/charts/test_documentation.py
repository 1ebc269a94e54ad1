"""The chart's README and values.yaml say what is so."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.charts.cases import LEAST
from tests.charts.release import CHATBOT, chart, merged, release, values_file

ROOT = CHATBOT.parents[1]
README = (CHATBOT / "README.md").read_text()
VALUES_TEXT = (CHATBOT / "values.yaml").read_text()
VALUES = values_file(CHATBOT / "values.yaml")
SCHEMA: dict[str, Any] = json.loads((CHATBOT / "values.schema.json").read_text())
LINKS = re.findall(r"\]\(([^)#]+)", README)

OF_A_WHOLE = {"chatbot.enabled", "global.imageRegistry", "global.imagePullSecrets"}
"""Values of a chart that has this one as a part."""


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def _schema_paths(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, about in schema.get("properties", {}).items():
        yield f"{prefix}{key}"
        yield from _schema_paths(about, f"{prefix}{key}.")


def test_values_and_schema_hold_the_same_keys() -> None:
    written = {path for path in _paths(VALUES) if not path.startswith("monitoring.dashboards.labels.")}
    nested = ("behavior.", "tests.resources.", "uninstall.resources.")
    written = {path for path in written if not any(part in path for part in nested)}
    known = set(_schema_paths(SCHEMA)) - {
        "enabled",
        "global",
        "gateway.timeouts.request",
        "gateway.timeouts.backendRequest",
    }
    assert written == known


def _objects(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "properties" in schema:
        yield path, schema
        for key, about in schema["properties"].items():
            yield from _objects(about, f"{path}/{key}")


def test_every_object_of_ours_refuses_unknown_keys() -> None:
    assert [path for path, about in _objects(SCHEMA) if about.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z]\w*(?:\.\w+)+)`", README)) - {"ca.crt", *OF_A_WHOLE}))
def test_values_that_the_readme_names_are_there(path: str) -> None:
    assert path in set(_paths(VALUES)) or f"chat.{path}" in set(_paths(VALUES))


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_somewhere(link: str) -> None:
    assert (CHATBOT / link).exists()


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_examples_work(example: str) -> None:
    values = yaml.safe_load(example)
    release(merged(LEAST, values))


def test_examples_of_ways_in_lead_somewhere() -> None:
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    ways = [values for values in examples if "ingress" in values]
    assert [values["ingress"]["className"] for values in ways] == ["nginx", "alb", "gce"]
    for values in ways:
        made = release({**LEAST, **values})
        ingress = made.one("Ingress")
        assert ingress["metadata"].get("annotations", {}) == values["ingress"].get("annotations", {})
        for part in ("chat", "history"):
            service = made.one("Service", f"-{part}")
            annotations = values.get(part, {}).get("service", {}).get("annotations", {})
            assert service["metadata"].get("annotations", {}) == annotations
            assert service["spec"]["type"] == "ClusterIP"


def test_the_readme_counts_memory_and_seconds_as_the_chart_does() -> None:
    made = release(LEAST)
    limit = made.container("chat")["resources"]["limits"]["memory"].removesuffix("Mi")
    assert f"| limit | {limit} MiB |" in README
    hearing = release(merged(LEAST, {"chat": {"speech": {"mode": "embedded"}}})).container("chat")
    more = int(hearing["resources"]["limits"]["memory"].removesuffix("Mi")) - int(limit)
    assert f"takes: {more} MiB with the defaults" in README
    drain = made.one("ConfigMap", "-chat")["data"]["CHAT_DRAIN_SECONDS"]
    slept = made.container("chat")["lifecycle"]["preStop"]["exec"]["command"][1]
    grace = made.workload("chat")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert f"that is {drain}, {slept} and {grace} seconds" in " ".join(README.split())


def test_keys_of_secrets_are_those_that_are_read() -> None:
    keys = {
        f"{name}.existingSecret": [value for key, value in VALUES[name].items() if key.endswith("Key") and value]
        for name in ("auth", "redis", "mongodb", "s3")
    }
    for value, names in keys.items():
        (row,) = (line for line in README.splitlines() if line.startswith(f"| `{value}` |"))
        for name in names:
            assert f"`{name}`" in row


def test_every_value_is_explained_in_place() -> None:
    """A value has a comment above it, or stands in a group that has one; the second of chat and history needs none."""
    text = VALUES_TEXT.partition("\nhistory:\n")[0]
    explained = ""
    for block in re.split(r"\n\n+", text):
        lines = block.splitlines()
        if any(re.match(r"\s*[a-z]\w*:", line) for line in lines):
            assert any(line.lstrip().startswith("#") for line in lines) or explained.startswith("#"), block
        explained = lines[-1] if lines else ""


def test_the_chart_has_the_version_of_the_services() -> None:
    for part in ("chat", "history"):
        project = tomllib.loads((ROOT / f"apps/{part}/pyproject.toml").read_text())["project"]
        assert chart().metadata["appVersion"] == project["version"]


def test_kubernetes_is_as_old_as_we_say() -> None:
    assert chart().metadata["kubeVersion"] == ">=1.25.0-0"
    assert "Kubernetes 1.25 or newer" in README


def test_notes_tell_the_next_step() -> None:
    notes = release(LEAST).notes
    assert "helm test talk --namespace rooms --logs" in notes
    assert "port-forward service/talk-chatbot-chat 8000" in notes
    assert "chat-client connect ws://127.0.0.1:8000 --history http://127.0.0.1:8001" in notes
    assert "exec deployment/talk-chatbot-chat -- permits show" in notes
    reached = release({**LEAST, "ingress": {"enabled": True, "host": "chat.example.com"}}).notes
    assert "chat-client connect wss://chat.example.com --history https://chat.example.com" in reached
    assert "port-forward" not in reached
