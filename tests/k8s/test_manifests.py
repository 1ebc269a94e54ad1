"""What stands in k8s/: valid on all versions that are supported, safe by default, explained."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.k8s.objects import K8S, ROOT, containers, objects

KUSTOMIZATIONS = ["dev", "gateway"]
VERSIONS = ["1.25", kubernetes_validate.latest_version()]
SCHEMAS = Path(os.environ.get("CHATBOT_SCHEMAS") or ROOT.parent / "shared" / "schemas")
DEV = objects(K8S / "dev")


def gateway_schema(kind: str) -> dict[str, Any]:
    file = SCHEMAS / f"gateway.networking.k8s.io_{kind.lower()}_v1.json"
    if not file.exists():
        pytest.skip(f"no schema at {file}; CHATBOT_SCHEMAS names the folder")
    return dict(json.loads(file.read_text()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("item", DEV, ids=lambda item: f"{item['kind']}/{item['metadata']['name']}")
def test_backing_services_are_valid(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("item", objects(K8S / "gateway"), ids=lambda item: str(item["kind"]))
def test_the_gateway_example_is_valid(item: dict[str, Any]) -> None:
    jsonschema.validate(item, gateway_schema(item["kind"]))


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
