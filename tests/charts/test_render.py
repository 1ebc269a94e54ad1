"""Whatever is switched on, Kubernetes takes the result: the oldest version that we support, and the newest."""

import re
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from tests.charts.cases import CELLS, LEAST, SWITCHES
from tests.charts.kubernetes import (
    NEWEST,
    OLDEST,
    custom_mistakes,
    is_custom,
    mistakes,
)
from tests.charts.release import CHATBOT, NAME, NAMESPACE, chart, merged, release

CASES = SWITCHES | CELLS
cases = pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())


@cases
def test_helm_has_nothing_to_say(values: dict[str, Any]) -> None:
    report = helm.lint(CHATBOT, values, strict=True, namespace=NAMESPACE, kube_version=f"v{OLDEST}")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["error"] != "icon is recommended"] == []


@cases
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_every_object(values: dict[str, Any], version: str) -> None:
    made = release(merged(values, {"kubeVersion": version}))
    assert [wrong for one in made.objects if not is_custom(one) for wrong in mistakes(one, version)] == []


@cases
def test_operators_take_their_objects(values: dict[str, Any]) -> None:
    made = release(values)
    assert [wrong for one in made.objects if is_custom(one) for wrong in custom_mistakes(one)] == []


def test_every_kind_is_among_the_cases() -> None:
    kinds: set[str] = set().union(*(release(values).kinds() for values in SWITCHES.values()))
    assert kinds == {
        "ConfigMap",
        "Deployment",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "NetworkPolicy",
        "Pod",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "Role",
        "RoleBinding",
        "ScaledObject",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
        "StatefulSet",
    }


def test_a_field_that_is_unknown_would_be_seen() -> None:
    service = release(LEAST).one("Service", "-chat")
    assert mistakes(service, OLDEST) == []
    assert mistakes({**service, "spec": {**service["spec"], "portz": []}}, OLDEST) != []


@pytest.mark.parametrize(
    ("case", "kind", "spec"),
    [
        ("gateway", "HTTPRoute", {"rules": [{"matches": []}]}),
        ("gateway", "HTTPRoute", {"hostnames": ["https://chat.example.com"]}),
        ("scaled by connections", "ScaledObject", {"minReplicas": 2}),
        ("scaled by connections", "ScaledObject", {"triggers": [{"type": "prometheus", "metadata": {"threshold": 2}}]}),
        ("watched by pod", "PodMonitor", {"endpoints": [{"port": "metrics"}]}),
        ("watched by pod", "PrometheusRule", {"groups": [{"name": "a", "rules": [{"alert": "A"}]}]}),
    ],
)
def test_a_mistake_in_an_object_of_an_operator_would_be_seen(case: str, kind: str, spec: dict[str, Any]) -> None:
    found = release(SWITCHES[case]).one(kind)
    assert custom_mistakes({**found, "spec": {**found["spec"], **spec}}) != []


def test_a_budget_says_more_where_kubernetes_knows_more() -> None:
    of_old = release(merged(LEAST, {"kubeVersion": "1.26"})).one("PodDisruptionBudget", "-chat")
    of_new = release(merged(LEAST, {"kubeVersion": "1.27"})).one("PodDisruptionBudget", "-chat")
    assert "unhealthyPodEvictionPolicy" not in of_old["spec"]
    assert of_new["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@cases
def test_objects_are_told_apart_and_know_their_release(values: dict[str, Any]) -> None:
    objects = release(values).objects
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    for one in objects:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == NAME
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert one["metadata"]["namespace"] == NAMESPACE


def test_the_longest_names_still_fit() -> None:
    values = merged(SWITCHES["values-prod.yaml"], {"chat": {"botScript": 'name = "Ada"\n'}})
    for manifest in chart().render(values, name="r" * 53, namespace=NAMESPACE).values():
        for name in re.findall(r"^\s+name: (\S+)$", manifest, re.MULTILINE):
            assert len(name) <= 63, name


def test_nothing_is_generated() -> None:
    first, second = (
        chart().render(SWITCHES["values-prod.yaml"], name=NAME, namespace=NAMESPACE, is_upgrade=upgrade)
        for upgrade in (False, True)
    )
    assert first == second


def test_the_package_holds_what_the_chart_needs(tmp_path: Path) -> None:
    archive = helm.package(CHATBOT, destination=tmp_path)
    values = SWITCHES["values-prod.yaml"]
    packed = helm.Chart.load(archive).render(values, name=NAME, namespace=NAMESPACE)
    assert packed == chart().render(values, name=NAME, namespace=NAMESPACE)
