"""skaffold.yaml: valid by skaffold's schema, and every name in it is that of something that is there."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.kubernetes import CUSTOM_SCHEMAS
from tests.k8s.objects import K8S, ROOT, objects

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
SCHEMA: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("skaffold_schema.yaml").read_text())
ARTIFACTS = CONFIG["build"]["artifacts"]
(RELEASE,) = CONFIG["deploy"]["helm"]["releases"]


def test_it_is_valid() -> None:
    jsonschema.validate(CONFIG, SCHEMA)
    whole = CUSTOM_SCHEMAS / "skaffold-v4beta14.json"
    if whole.exists():
        jsonschema.validate(CONFIG, json.loads(whole.read_text()))


def test_a_field_that_is_unknown_would_be_seen() -> None:
    with pytest.raises(jsonschema.ValidationError, match="chart"):
        jsonschema.validate({**CONFIG, "deploy": {"helm": {"releases": [{"name": "a", "chart": "b"}]}}}, SCHEMA)


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: str(artifact["image"]))
def test_each_image_has_its_dockerfile_and_target(artifact: dict[str, Any]) -> None:
    dockerfile = (ROOT / artifact["docker"]["dockerfile"]).read_text()
    assert f" AS {artifact['docker']['target']}\n" in dockerfile


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: str(artifact["image"]))
def test_synced_files_land_where_the_image_runs_them(artifact: dict[str, Any]) -> None:
    dockerfile = (ROOT / artifact["docker"]["dockerfile"]).read_text()
    paths = re.search(r"PYTHONPATH=(\S+)", dockerfile)
    assert paths
    for rule in artifact["sync"]["manual"]:
        found = list(ROOT.glob(rule["src"]))
        assert found, rule
        places = [Path(rule["dest"], file.relative_to(ROOT)) for file in found if "__pycache__" not in file.parts]
        copied = re.findall(r"COPY --chown=10001:10001 \S+ (/src/\S+)", dockerfile)
        assert all(any(place.is_relative_to(folder) for folder in copied) for place in places)
    for folder in paths[1].split(":"):
        assert (ROOT / Path(folder).relative_to("/src")).is_dir()


def test_files_and_images_that_it_names_exist() -> None:
    assert (ROOT / RELEASE["chartPath"] / "Chart.yaml").exists()
    assert all((ROOT / file).exists() for file in RELEASE["valuesFiles"])
    assert all((ROOT / path / "kustomization.yaml").exists() for path in CONFIG["manifests"]["kustomize"]["paths"])
    templates = " ".join(RELEASE["setValueTemplates"].values())
    images = {artifact["image"].replace("-", "_") for artifact in ARTIFACTS}
    assert set(re.findall(r"IMAGE_(?:REPO|TAG)_(\w+)", templates)) == images


def test_profiles_can_be_applied() -> None:
    for profile in CONFIG["profiles"]:
        for patch in profile.get("patches", []):
            there: Any = CONFIG
            *parents, last = patch["path"].strip("/").split("/")
            for step in parents:
                there = there[int(step)] if isinstance(there, list) else there[step]
            if patch["op"] in {"replace", "remove"}:
                assert (int(last) < len(there)) if isinstance(there, list) else last in there
            for file in [patch.get("value")] if last == "-" else []:
                assert (ROOT / file).exists()


def test_the_stores_profile_forwards_services_of_k8s_dev() -> None:
    (stores,) = [profile for profile in CONFIG["profiles"] if profile["name"] == "stores"]
    (forward,) = [patch["value"] for patch in stores["patches"] if patch["path"] == "/portForward"]
    services = {item["metadata"]["name"] for item in objects(K8S / "dev") if item["kind"] == "Service"}
    assert {port["resourceName"] for port in forward} == services
