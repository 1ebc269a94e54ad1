"""What clouds and meshes need of NetworkPolicies, beyond what services need of each other."""

import pytest

from tests.charts.cases import CELLS, LEAST, SWITCHES
from tests.charts.release import Object, Release, merged, refusal, release
from tests.charts.test_network import CHAT, HISTORY, OUTSIDE, STRANGER, TEST, WELL_KNOWN, Pod, may

UNINSTALL = Pod({**CHAT.labels, "app.kubernetes.io/component": "uninstall"})
ALL = pytest.mark.parametrize("part", [CHAT, HISTORY, TEST, UNINSTALL], ids=["chat", "history", "test", "uninstall"])
SERVICES = pytest.mark.parametrize("part", [CHAT, HISTORY], ids=["chat", "history"])
KUBELET = Pod({}, "", "169.254.7.127")
AGENT = Pod({}, "", "169.254.170.23")


@ALL
def test_sidecars_reach_their_control_plane_and_nothing_else_does(part: Pod) -> None:
    made = release(SWITCHES["mesh of sidecars"])
    assert may(made, part, WELL_KNOWN, 15012)
    assert not may(made, part, STRANGER, 15012)
    assert not may(release(LEAST), part, WELL_KNOWN, 15012)


@SERVICES
def test_metrics_of_sidecars_are_read_by_those_who_read_ours(part: Pod) -> None:
    assert may(release(SWITCHES["mesh of sidecars"]), STRANGER, part, 15020)
    strict = release(merged(SWITCHES["strict network"], {"networkPolicy": {"mesh": {"mode": "istio-sidecar"}}}))
    assert may(strict, WELL_KNOWN, part, 15020)
    assert not may(strict, STRANGER, part, 15020)


@ALL
def test_pods_of_an_ambient_mesh_talk_by_its_port(part: Pod) -> None:
    made = release(SWITCHES["ambient mesh"])
    assert may(made, part, STRANGER, 15008)
    assert not may(release(LEAST), part, STRANGER, 15008)


@SERVICES
def test_an_ambient_mesh_reaches_services_and_kubelets_may_probe(part: Pod) -> None:
    made = release(SWITCHES["ambient mesh"])
    assert may(made, STRANGER, part, 15008)
    strict = release(merged(SWITCHES["strict network"], {"networkPolicy": {"mesh": {"mode": "istio-ambient"}}}))
    assert may(strict, KUBELET, part, 8000)
    assert not may(strict, STRANGER, part, 8000)
    assert not may(release(SWITCHES["strict network"]), KUBELET, part, 8000)


def test_only_history_asks_for_the_identity_of_its_pod() -> None:
    made = release(SWITCHES["clouds"])
    assert may(made, HISTORY, AGENT, 80)
    assert not may(made, CHAT, AGENT, 80)
    assert not may(release(LEAST), HISTORY, AGENT, 80)


def test_names_may_be_resolved_on_the_node() -> None:
    made = release(SWITCHES["clouds"])
    assert may(made, CHAT, Pod({}, "", "169.254.20.10"), 53, "UDP")
    assert not may(made, CHAT, OUTSIDE, 53, "UDP")


def test_a_private_endpoint_may_have_many_ports() -> None:
    made = release(SWITCHES["clouds"])
    endpoint = Pod({}, "", "10.30.0.5")
    assert all(may(made, HISTORY, endpoint, port) for port in (1024, 27017, 65535))
    assert not may(made, HISTORY, endpoint, 1023)
    assert not may(made, CHAT, endpoint, 27017)


def _cell() -> Release:
    return release(CELLS["values-cell.yaml"])


def test_a_cell_has_chat_and_nothing_of_history() -> None:
    made = _cell()
    names = {one["metadata"]["name"] for one in made.objects}
    assert not any("-history" in name.removesuffix("-test-history") for name in names)
    assert [workload["metadata"]["name"] for workload in made.workloads()] == ["talk-chatbot-chat"]
    paths = made.all("Ingress")[0]["spec"]["rules"][0]["http"]["paths"]
    assert [each["path"] for each in paths] == ["/connect", "/.well-known/chatbot"]


def test_a_cell_hands_in_reads_and_drains_elsewhere() -> None:
    made, url = _cell(), CELLS["values-cell.yaml"]["history"]["url"]
    assert made.one("ConfigMap", "-chat")["data"]["CHAT_HISTORY_URL"] == url
    (job,) = made.one("Job")["spec"]["template"]["spec"]["containers"]
    assert f"--history={url}" in job["args"]
    for test in made.all("Pod"):
        assert {"name": "CHAT_HISTORY_URL", "value": url} in test["spec"]["containers"][0]["env"]
    assert url in made.notes


@pytest.mark.parametrize("part", [CHAT, TEST, UNINSTALL], ids=["chat", "test", "uninstall"])
def test_a_cell_reaches_the_history_that_is_named_and_no_other(part: Pod) -> None:
    made, there = _cell(), Pod({}, "chatbot-history")
    assert may(made, part, there, 8001)
    assert not may(made, part, STRANGER, 8001)
    elsewhere = merged(CELLS["values-cell.yaml"], {"history": {"url": "https://history.example.com"}})
    assert may(release(elsewhere), part, there, 443)
    assert not may(release(elsewhere), part, there, 8001)


def test_a_cell_watches_chat_only() -> None:
    watched = {"scrape": {"mode": "pod"}, "rules": {"enabled": True}, "dashboards": {"enabled": True}}
    made = release(merged(CELLS["values-cell.yaml"], {"monitoring": watched}))
    rules: list[Object] = made.one("PrometheusRule")["spec"]["groups"][0]["rules"]
    assert not [rule["alert"] for rule in rules if "history_" in rule["expr"]]
    assert len(rules) > 15
    (expression,) = made.one("PodMonitor")["spec"]["selector"]["matchExpressions"]
    assert expression["values"] == ["chat"]
    dashboards = [one for one in made.all("ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert [one["metadata"]["name"] for one in dashboards] == ["talk-chatbot-chat-dashboard"]


def test_a_cell_without_a_history_anywhere_is_refused() -> None:
    assert "history.url is needed where history.enabled is false" in refusal(
        merged(CELLS["values-cell.yaml"], {"history": {"url": ""}})
    )
    assert "history.url is for a release without a history of its own" in refusal(
        merged(LEAST, {"history": {"url": "http://history"}})
    )
