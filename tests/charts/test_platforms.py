"""Clusters that differ: OpenShift, and a chart that has this one as a part."""

import shutil
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from tests.charts.api_server import api_server
from tests.charts.cases import LEAST, SWITCHES
from tests.charts.kubernetes import NEWEST, mistakes
from tests.charts.release import CHATBOT, NAME, NAMESPACE, Object, chart, merged, release

IDS = {"runAsUser", "runAsGroup", "fsGroup"}


def dns_ports(made: Any) -> set[tuple[int, str]]:
    (rule, *_) = made.one("NetworkPolicy", "-chat")["spec"]["egress"]
    return {(port["port"], port["protocol"]) for port in rule["ports"]}


def test_openshift_chooses_the_ids_of_pods_and_resolves_names_at_another_port() -> None:
    made = release(merged(LEAST, {"platform": "openshift"}))
    for _, pod in made.pods():
        assert not IDS & pod["spec"]["securityContext"].keys()
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert dns_ports(made) == {(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")}
    assert [wrong for one in made.objects for wrong in mistakes(one, NEWEST)] == []


@pytest.mark.parametrize(
    ("group", "values", "platform"),
    [
        ("security.openshift.io/v1", {}, "openshift"),
        ("security.openshift.io/v1", {"platform": "kubernetes"}, "kubernetes"),
        ("apps/v1", {}, "kubernetes"),
        ("apps/v1", {"platform": "openshift"}, "openshift"),
    ],
)
def test_a_cluster_tells_by_its_api_what_it_is(
    group: str, values: dict[str, Any], platform: str, tmp_path: Path
) -> None:
    """What the cluster serves is known to an install only, so a copy of the chart says there what it takes it for."""
    folder = tmp_path / "chatbot"
    shutil.copytree(CHATBOT, folder)
    (folder / "templates/asked.yaml").write_text('{{ fail (printf "platform: %s." (include "chatbot.platform" .)) }}')
    with api_server(NAMESPACE, {}, [group]) as kubeconfig:
        config = helm.Config(kubeconfig_content=kubeconfig, namespace=NAMESPACE)
        try:
            with pytest.raises(helm.HelmError, match=f"platform: {platform}\\."):
                config.install(str(folder), NAME, merged(LEAST, {"checkSecrets": False}, values), dry_run="server")
        finally:
            config.close()


def test_elsewhere_the_ids_are_those_of_the_image() -> None:
    made = release(LEAST)
    for _, pod in made.pods():
        assert pod["spec"]["securityContext"].keys() >= IDS
    assert dns_ports(made) == {(53, "UDP"), (53, "TCP")}


def test_names_are_resolved_at_the_ports_that_are_named() -> None:
    made = release(merged(LEAST, {"networkPolicy": {"dnsPorts": [53, 8053]}}))
    assert dns_ports(made) == {(53, "UDP"), (53, "TCP"), (8053, "UDP"), (8053, "TCP")}


@pytest.fixture(scope="module")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that has ours as a part, with a condition."""
    folder = tmp_path_factory.mktemp("umbrella") / "umbrella"
    shutil.copytree(CHATBOT, folder / "charts/chatbot")
    about = {
        "apiVersion": "v2",
        "name": "umbrella",
        "version": "1.0.0",
        "dependencies": [{"name": "chatbot", "version": "*", "condition": "chatbot.enabled"}],
    }
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    return folder


def objects(umbrella: Path, values: dict[str, Any]) -> list[Object]:
    # A condition that is false removes the part from what was loaded, so it is loaded each time.
    rendered = helm.Chart.load(umbrella).render(values, name="all", namespace=NAMESPACE)
    pages = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [one for page in pages for one in yaml.safe_load_all(page) if one]


def test_a_part_can_be_switched_by_its_condition(umbrella: Path) -> None:
    assert objects(umbrella, {"chatbot": {**LEAST, "enabled": False}}) == []
    assert objects(umbrella, {"chatbot": {**LEAST, "enabled": True}}) != []


@pytest.mark.parametrize("secrets", [["login"], [{"name": "login"}]], ids=["names", "objects"])
def test_registry_and_login_of_the_whole_count_for_the_part(umbrella: Path, secrets: list[Any]) -> None:
    shared = {"imageRegistry": "mirror.example.com", "imagePullSecrets": secrets}
    made = objects(umbrella, {"global": shared, "chatbot": LEAST})
    pods = [one["spec"]["template"]["spec"] for one in made if one["kind"] in {"Deployment", "Job"}]
    assert len(pods) == 3
    for pod in pods:
        assert pod["imagePullSecrets"] == [{"name": "login"}]
        assert pod["containers"][0]["image"].startswith("mirror.example.com/chatbot-")


def test_its_own_registry_counts_more(umbrella: Path) -> None:
    values = {**LEAST, "image": {"registry": "own.example.com"}}
    made = objects(umbrella, {"global": {"imageRegistry": "mirror.example.com"}, "chatbot": values})
    images = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in made if one["kind"] == "Deployment"}
    assert {image.partition("/")[0] for image in images} == {"own.example.com"}


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = []
    for release_name in (
        "the-support-chatbot-of-the-whole-company-in-a",
        "the-support-chatbot-of-the-whole-company-in-b",
    ):
        rendered = chart().render(SWITCHES["persistent"], name=release_name, namespace=NAMESPACE)
        pages = [text for path, text in rendered.items() if path.endswith("workload.yaml")]
        names += [one["metadata"]["name"] for page in pages for one in yaml.safe_load_all(page)]
    assert len(set(names)) == 4
    assert all(len(name) <= 48 for name in names)
