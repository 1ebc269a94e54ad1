"""What stands in k8s/: valid on all versions that are supported, safe by default, explained."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.charts.kubernetes import NEWEST, OLDEST, custom_mistakes, mistakes
from tests.charts.release import CHATBOT, merged, release, values_file
from tests.k8s.objects import K8S, containers, objects

KUSTOMIZATIONS = ["dev", "gateway"]
DEV = objects(K8S / "dev")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_backing_services_are_valid(version: str) -> None:
    assert [mistake for item in DEV for mistake in mistakes(item, version)] == []


def test_the_gateway_example_is_valid() -> None:
    found = objects(K8S / "gateway")
    assert {item["kind"] for item in found} == {"Gateway", "HTTPRoute"}
    assert [mistake for item in found for mistake in custom_mistakes(item)] == []


@pytest.mark.parametrize(
    ("name", "kinds"), [("gateway", {"HTTPRoute"}), ("monitoring", {"PodMonitor", "PrometheusRule"})]
)
def test_the_chart_takes_the_example_values(name: str, kinds: set[str]) -> None:
    dev = values_file(CHATBOT / "values-dev.yaml")
    example = values_file(K8S / name / "values.yaml")
    assert release(merged(dev, example)).kinds() - release(dev).kinds() == kinds


def test_the_route_of_the_chart_finds_the_gateway() -> None:
    (parent,) = values_file(K8S / "gateway/values.yaml")["gateway"]["parentRefs"]
    gateway = next(item for item in objects(K8S / "gateway") if item["kind"] == "Gateway")
    assert gateway["metadata"]["name"] == parent["name"]
    assert parent["sectionName"] in {listener["name"] for listener in gateway["spec"]["listeners"]}


def test_values_for_development_name_the_backing_services() -> None:
    dev = values_file(CHATBOT / "values-dev.yaml")
    ports = {item["metadata"]["name"]: item["spec"]["ports"][0]["port"] for item in DEV if item["kind"] == "Service"}
    for name, address in (
        ("valkey", dev["redis"]["url"]),
        ("mongodb", dev["mongodb"]["url"]),
        ("seaweedfs", dev["s3"]["endpointUrl"]),
    ):
        assert f"://{name}:{ports[name]}" in address
    secrets = {item["metadata"]["name"] for item in DEV if item["kind"] == "Secret"}
    assert dev["s3"]["existingSecret"] in secrets


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_makes_the_same_of_it(name: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kustomize comes with kubectl, which is not installed")
    built = subprocess.run(["kubectl", "kustomize", K8S / name], capture_output=True, text=True, check=True, timeout=60)
    key = lambda item: (item["kind"], item["metadata"]["name"])  # noqa: E731 - used twice, right here
    assert sorted(yaml.safe_load_all(built.stdout), key=key) == sorted(objects(K8S / name), key=key)


@pytest.mark.parametrize(("pod", "container"), containers(DEV), ids=lambda part: str(part.get("name", "")))
def test_pods_fit_the_restricted_standard(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "readinessProbe" in container
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("pod", "container"), containers(DEV), ids=lambda part: str(part.get("name", "")))
def test_images_are_pinned_and_of_their_makers(pod: dict[str, Any], container: dict[str, Any]) -> None:
    name, tag = container["image"].split(":")
    assert name in {"valkey/valkey", "mongo", "chrislusf/seaweedfs"}
    assert re.match(r"\d+\.\d+", tag)


def test_services_find_their_pods() -> None:
    sets = {item["metadata"]["name"]: item for item in DEV if item["kind"] == "StatefulSet"}
    services = [item for item in DEV if item["kind"] == "Service"]
    assert {service["metadata"]["name"] for service in services} == set(sets)
    for service in services:
        workload = sets[service["metadata"]["name"]]["spec"]
        assert service["spec"]["selector"].items() <= workload["template"]["metadata"]["labels"].items()
        ports = {port["name"] for port in workload["template"]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_both_sides_of_s3_know_the_same_credentials() -> None:
    secrets = {item["metadata"]["name"]: item["stringData"] for item in DEV if item["kind"] == "Secret"}
    (identity,) = json.loads(secrets["seaweedfs-identities"]["s3.json"])["identities"]
    (pair,) = identity["credentials"]
    ours = secrets["chatbot-s3"]
    assert (pair["accessKey"], pair["secretKey"]) == (ours["access-key-id"], ours["secret-access-key"])


def test_valkey_never_forgets_limits_to_make_room() -> None:
    (args,) = [container["args"] for _, container in containers(DEV) if container["name"] == "valkey"]
    assert args[args.index("--maxmemory-policy") + 1] == "noeviction"


def test_every_file_is_explained() -> None:
    table = (K8S / "README.md").read_text()
    for file in K8S.rglob("*.yaml"):
        if file.name != "kustomization.yaml" and file.parent.name != "gateway":
            assert f"`{file.relative_to(K8S)}`" in table


def test_kind_maps_only_ports_of_this_machine() -> None:
    cluster = yaml.safe_load((K8S / "kind.yaml").read_text())
    assert (cluster["kind"], cluster["name"]) == ("Cluster", "chatbot")
    mappings = [mapping for node in cluster["nodes"] for mapping in node.get("extraPortMappings", [])]
    assert {mapping["containerPort"] for mapping in mappings} == {30080, 30081}
    assert {mapping["listenAddress"] for mapping in mappings} == {"127.0.0.1"}
