"""What operators ask of any chart: it reaches the objects when it is set, and renders nothing when it is not."""

from typing import Any

import pytest

from tests.charts.cases import LEAST, SWITCHES, USUAL_WAYS
from tests.charts.kubernetes import NEWEST, mistakes
from tests.charts.release import Object, merged, release, text

parts = pytest.mark.parametrize("part", ["chat", "history"])
USUAL = release(SWITCHES["usual ways"])
UNSET = {
    "pod": {"schedulerName", "hostAliases", "dnsPolicy", "dnsConfig", "priorityClassName", "runtimeClassName"},
    "service": {
        "ipFamilyPolicy",
        "ipFamilies",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "externalTrafficPolicy",
        "nodePort",
    },
}


def _pod(made: Any, part: str) -> Object:
    spec: Object = made.workload(part)["spec"]["template"]["spec"]
    return spec


@parts
def test_what_is_not_set_renders_nothing(part: str) -> None:
    made = release(LEAST)
    assert not UNSET["pod"] & _pod(made, part).keys()
    for service in made.all("Service"):
        assert not UNSET["service"] & service["spec"].keys()
        assert "annotations" not in service["metadata"]
    assert "annotations" not in made.workload(part)["metadata"]
    assert made.container(part)["lifecycle"].keys() == {"preStop"}


@parts
def test_where_and_how_pods_run(part: str) -> None:
    spec = _pod(USUAL, part)
    for key in ("schedulerName", "hostAliases", "dnsPolicy", "dnsConfig"):
        assert spec[key] == USUAL_WAYS[key]
    workload = USUAL.workload(part)
    assert workload["spec"]["revisionHistoryLimit"] == 0
    assert workload["metadata"]["annotations"] == USUAL_WAYS["annotations"]


@parts
def test_probes_are_merged_and_another_question_takes_the_place_of_ours(part: str) -> None:
    ours, container = release(LEAST).container(part), USUAL.container(part)
    assert container["startupProbe"] == {**ours["startupProbe"], "failureThreshold": 120}
    assert container["readinessProbe"] == {**ours["readinessProbe"], "periodSeconds": 1}
    assert "httpGet" not in container["livenessProbe"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "http"}
    assert container["livenessProbe"]["failureThreshold"] == ours["livenessProbe"]["failureThreshold"]


@parts
def test_hooks_of_the_container_stand_beside_the_sleep_or_take_its_place(part: str) -> None:
    ours = release(LEAST).container(part)["lifecycle"]
    assert USUAL.container(part)["lifecycle"] == {**ours, **USUAL_WAYS["lifecycle"]}
    own = {"preStop": {"httpGet": {"path": "/", "port": 15020}}}
    assert release(merged(LEAST, {part: {"lifecycle": own}})).container(part)["lifecycle"] == own


@parts
def test_the_end_of_a_pod_can_be_told_by_number(part: str) -> None:
    made = release(SWITCHES["own ends"])
    assert made.container(part)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "15"]
    assert _pod(made, part)["terminationGracePeriodSeconds"] == 120
    none = release(merged(LEAST, {"preStopSeconds": 0}))
    assert none.container(part)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "0"]
    assert _pod(none, part)["terminationGracePeriodSeconds"] == 35


@parts
def test_services_are_of_the_family_and_class_that_is_asked_for(part: str) -> None:
    service, metrics = USUAL.one("Service", f"-{part}"), USUAL.one("Service", f"-{part}-pods")
    for key in ("ipFamilyPolicy", "ipFamilies", "externalTrafficPolicy"):
        assert service["spec"][key] == USUAL_WAYS["service"][key]
    assert service["metadata"]["labels"]["i"] == "j"
    assert metrics["spec"]["ipFamilies"] == ["IPv6", "IPv4"]
    assert "externalTrafficPolicy" not in metrics["spec"]
    balanced = {"type": "LoadBalancer", "loadBalancerClass": "a.b/c", "loadBalancerSourceRanges": ["10.0.0.0/8"]}
    spec = release(merged(LEAST, {part: {"service": balanced}})).one("Service", f"-{part}")["spec"]
    assert spec.items() >= balanced.items()


@parts
def test_a_native_sidecar_is_an_init_container_that_stays(part: str) -> None:
    sidecar = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
    made = release(merged(LEAST, {part: {"extraInitContainers": [sidecar]}}))
    assert _pod(made, part)["initContainers"] == [sidecar]
    assert mistakes(made.workload(part), NEWEST) == []


@parts
def test_a_pod_that_asks_a_vault_is_given_the_token_of_its_account(part: str) -> None:
    made = release(merged(LEAST, {part: {"serviceAccount": {"automountToken": True}}}))
    assert _pod(made, part)["automountServiceAccountToken"] is True
    other = {"chat": "history", "history": "chat"}[part]
    assert _pod(made, other)["automountServiceAccountToken"] is False


def test_several_hosts_lead_to_the_same_and_have_the_certificates_that_are_named() -> None:
    spec = release(SWITCHES["several hosts"]).one("Ingress")["spec"]
    assert [rule["host"] for rule in spec["rules"]] == ["chat.example.com", "talk.example.com", "a.example"]
    assert all(rule["http"] == spec["rules"][0]["http"] for rule in spec["rules"])
    assert spec["tls"] == [
        {"hosts": ["chat.example.com", "talk.example.com"], "secretName": "tls"},
        {"hosts": ["a.example"], "secretName": "a-tls"},
    ]


def test_pods_are_scaled_by_more_than_one_figure() -> None:
    made = release(SWITCHES["scaled by more"])
    metrics = made.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [one["resource"]["name"] for one in metrics] == ["cpu", "memory"]
    assert [one["type"] for one in made.one("ScaledObject")["spec"]["triggers"]] == ["prometheus", "cpu"]


def test_scrapes_and_alerts_are_labelled_as_asked() -> None:
    made = release(SWITCHES["watched in detail"])
    asked = SWITCHES["watched in detail"]["monitoring"]["scrape"]
    (endpoint,) = made.one("ServiceMonitor")["spec"]["endpoints"]
    for key in ("scrapeTimeout", "relabelings", "metricRelabelings"):
        assert endpoint[key] == asked[key]
    rules = made.one("PrometheusRule")["spec"]["groups"][0]["rules"]
    assert {rule["labels"]["team"] for rule in rules} == {"support"}
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}


def test_pods_of_hooks_have_the_annotations_that_a_mesh_asks_for() -> None:
    made = release(SWITCHES["own ends"])
    for test in made.all("Pod"):
        assert test["metadata"]["annotations"].keys() >= {"helm.sh/hook", "sidecar.istio.io/inject"}
        assert test["metadata"]["labels"]["test"] == "yes"
    job = made.one("Job")["spec"]["template"]["metadata"]["annotations"]
    assert job == {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "object"])
def test_more_objects_are_part_of_the_release(as_text: bool) -> None:
    (one,) = SWITCHES["more objects"]["extraObjects"]
    given = text(one) if as_text else one
    made = release(merged(LEAST, {"extraObjects": [given]})).one("ConfigMap", "-more")
    assert made["metadata"]["name"] == "talk-more"
    assert made["data"] == {"config": "a: 1"}
