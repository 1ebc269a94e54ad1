"""Who reaches whom, by the NetworkPolicies and the routes of a release: what services need, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.charts.cases import LEAST, OPEN, PEER, SWITCHES
from tests.charts.release import NAME, NAMESPACE, Object, Release, merged, release

RULES_OFF = {"networkPolicy": {"enabled": False}}


@dataclass(frozen=True)
class Pod:
    """One end of a connection: a pod somewhere, by its labels and those of its namespace; or an address outside."""

    labels: dict[str, str]
    namespace: str = NAMESPACE
    address: str = ""


OUTSIDE = Pod({}, "", "203.0.113.7")
STRANGER = Pod({"app": "stranger"}, "elsewhere")
NEIGHBOUR = Pod({"app": "neighbour"}, NAMESPACE)
WELL_KNOWN = Pod({"app": "controller"}, "somewhere")  # whom PEER lets in


def _part(part: str) -> Pod:
    return Pod(
        {
            "app.kubernetes.io/name": "chatbot",
            "app.kubernetes.io/instance": NAME,
            "app.kubernetes.io/component": part,
        }
    )


CHAT, HISTORY, TEST = (_part(part) for part in ("chat", "history", "test"))


def may(made: Release, source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Say whether the policies let a connection through, as the documentation of NetworkPolicy tells it."""
    return _side(made, "Egress", source, target, port, protocol) and _side(
        made, "Ingress", target, source, port, protocol
    )


def _side(made: Release, side: str, selected: Pod, other: Pod, port: int, protocol: str) -> bool:
    policies = [one["spec"] for one in made.all("NetworkPolicy") if _selects(one["spec"]["podSelector"], selected)]
    policies = [one for one in policies if side in one["policyTypes"] and selected.namespace == NAMESPACE]
    rules: Iterator[Object] = (rule for one in policies for rule in one.get(side.lower(), []))
    peers = "to" if side == "Egress" else "from"
    return not policies or any(_rule(rule, rule.get(peers), other, port, protocol) for rule in rules)


def _rule(rule: Object, peers: list[Object] | None, other: Pod, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    at_port = ports is None or any(
        one["port"] <= port <= one.get("endPort", one["port"]) and one["protocol"] == protocol for one in ports
    )
    return at_port and (peers is None or any(_is_peer(peer, other) for peer in peers))


def _is_peer(peer: Object, other: Pod) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and other.address.startswith(peer["ipBlock"]["cidr"].split(".")[0])
    if "namespaceSelector" in peer:
        wanted = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name", other.namespace)
        return other.namespace == wanted and _selects(peer.get("podSelector", {}), other)
    return other.namespace == NAMESPACE and _selects(peer["podSelector"], other)


def _selects(selector: Object, pod: Pod) -> bool:
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= pod.labels.items()


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "bare"])
def test_the_services_reach_what_they_need(name: str) -> None:
    made = release(SWITCHES[name])
    assert may(made, CHAT, HISTORY, 8001)
    assert may(made, TEST, CHAT, 8000)
    assert may(made, TEST, HISTORY, 8001)


@pytest.mark.parametrize("part", [CHAT, HISTORY, TEST])
def test_names_can_be_resolved(part: Pod) -> None:
    for protocol in ("UDP", "TCP"):
        assert may(release(LEAST), part, Pod({}, "kube-system"), 53, protocol)
    strict = release(SWITCHES["strict network"])
    assert may(strict, part, WELL_KNOWN, 53, "UDP")
    assert not may(strict, part, STRANGER, 53, "UDP")


def test_stores_are_reached_at_the_ports_of_their_addresses() -> None:
    made = release(OPEN)
    assert may(made, CHAT, STRANGER, 6380)
    assert may(made, HISTORY, OUTSIDE, 27018)
    assert may(made, HISTORY, OUTSIDE, 27019)
    assert may(made, HISTORY, STRANGER, 8333)
    assert not may(made, CHAT, STRANGER, 27018)  # of history only
    assert not may(made, HISTORY, STRANGER, 6380)  # of chat only


@pytest.mark.parametrize("part", [CHAT, HISTORY])
def test_the_keys_of_an_issuer_are_reached_where_there_is_one(part: Pod) -> None:
    assert may(release(SWITCHES["issuer"]), part, OUTSIDE, 8443)
    assert may(release(SWITCHES["issuer beside secrets"]), part, OUTSIDE, 443)
    assert not may(release(LEAST), part, OUTSIDE, 8443)
    assert not may(release(LEAST), CHAT, OUTSIDE, 443)


def test_an_address_in_a_secret_has_the_usual_port_or_the_one_that_is_said() -> None:
    made = release(LEAST)
    assert may(made, CHAT, OUTSIDE, 6379)
    assert may(made, HISTORY, OUTSIDE, 27017)
    assert may(made, HISTORY, OUTSIDE, 443)
    strict = release(SWITCHES["strict network"])
    assert may(strict, CHAT, WELL_KNOWN, 6380)
    assert not may(strict, CHAT, WELL_KNOWN, 6379)


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("https://s3.example.com", {443}),
        ("http://s3.example.com", {80}),
        ("http://[2001:db8::1]:9000/x:1", {9000}),
        ("", {443}),
    ],
)
def test_ports_are_read_from_addresses(url: str, ports: set[int]) -> None:
    made = release(merged(LEAST, {"s3": {"endpointUrl": url}}))
    rules = made.one("NetworkPolicy", "-history")["spec"]["egress"]
    assert {port["port"] for port in rules[-1]["ports"]} == ports


def test_clients_come_from_anywhere_unless_it_is_said_where_from() -> None:
    for source in (OUTSIDE, STRANGER, NEIGHBOUR):
        assert may(release(LEAST), source, CHAT, 8000)
        assert may(release(LEAST), source, HISTORY, 8001)
    strict = release(SWITCHES["strict network"])
    for source in (OUTSIDE, STRANGER, NEIGHBOUR):
        assert not may(strict, source, CHAT, 8000)
        assert not may(strict, source, HISTORY, 8001)
    assert may(strict, WELL_KNOWN, CHAT, 8000)
    assert may(strict, WELL_KNOWN, HISTORY, 8001)


def test_metrics_are_read_by_whom_it_is_said() -> None:
    strict = release(SWITCHES["strict network"])
    for part, port in ((CHAT, 9000), (HISTORY, 9001)):
        assert may(release(LEAST), STRANGER, part, port)
        assert may(strict, WELL_KNOWN, part, port)
        assert not may(strict, STRANGER, part, port)


def test_everything_else_is_denied() -> None:
    made = release(LEAST)
    for part in (CHAT, HISTORY, TEST):
        assert not may(made, part, OUTSIDE, 80)
        assert not may(made, OUTSIDE, part, 22)
    assert not may(made, HISTORY, CHAT, 8000)
    assert not may(made, OUTSIDE, TEST, 8000)
    anything = Pod({"app.kubernetes.io/name": "chatbot", "app.kubernetes.io/instance": NAME})
    assert not may(made, anything, OUTSIDE, 443)


def test_more_rules_can_be_given() -> None:
    strict = SWITCHES["strict network"]
    less = merged(strict, {"networkPolicy": {"extra": {"history": {"egress": []}}}})
    assert may(release(strict), HISTORY, WELL_KNOWN, 8080)
    assert not may(release(less), HISTORY, WELL_KNOWN, 8080)


def test_policies_can_be_left_to_others() -> None:
    made = release(merged(LEAST, RULES_OFF))
    assert made.all("NetworkPolicy") == []
    assert "networkPolicy.enabled is false" in made.notes
    assert "networkPolicy" not in release(LEAST).notes


def _routes(made: Release) -> dict[str, tuple[str, Any]]:
    """Return where paths lead, by Ingress or HTTPRoute: Service and port."""
    found: dict[str, tuple[str, Any]] = {}
    for ingress in made.all("Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            assert path["pathType"] == ("Exact" if path["path"] == "/" else "Prefix")
            service = path["backend"]["service"]
            found[path["path"]] = (service["name"], service["port"]["name"])
    for route in made.all("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            for match in rule["matches"]:
                assert match["path"]["type"] == ("Exact" if match["path"]["value"] == "/" else "PathPrefix")
                found[match["path"]["value"]] = (backend["name"], backend["port"])
    return found


@pytest.mark.parametrize(("way", "port"), [("ingress", {"http"}), ("gateway", {8000, 8001})])
def test_clients_reach_what_is_for_them_and_never_the_ingest(way: str, port: set[Any]) -> None:
    made = release(SWITCHES[way])
    routes = _routes(made)
    assert {path for path, (service, _) in routes.items() if service.endswith("-chat")} == {
        "/connect",
        "/.well-known/chatbot",
    }
    assert {path for path, (service, _) in routes.items() if service.endswith("-history")} == {
        "/v1/clients",
        "/v1/sessions",
        "/v1/messages",
    }
    assert not any("/v1/exchanges".startswith(path) for path in routes)
    assert {service for service, _ in routes.values()} <= {one["metadata"]["name"] for one in made.all("Service")}
    assert {found for _, found in routes.values()} == port


@pytest.mark.parametrize("way", ["ingress", "gateway"])
@pytest.mark.parametrize("history", [True, False])
def test_the_page_is_reached_when_it_is_wanted(way: str, history: bool) -> None:
    elsewhere = {} if history else {"history": {"enabled": False, "url": "http://history.example"}}
    made = release(merged(SWITCHES[way], {"publicPage": True}, elsewhere))
    exact = [
        path
        for ingress in made.all("Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
        if path["pathType"] == "Exact"
    ] + [
        match["path"]
        for route in made.all("HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        if match["path"]["type"] == "Exact"
    ]
    assert [path.get("path", path.get("value")) for path in exact] == ["/"]
    routes = _routes(made)
    chat = {path for path, (service, _) in routes.items() if service.endswith("-chat")}
    assert chat == {"/", "/connect", "/web", "/.well-known/chatbot"}
    assert not any("/readyz".startswith(path) for path in routes if path != "/")


def test_an_ingress_uses_tls_unless_it_is_told_not_to() -> None:
    assert release(SWITCHES["ingress"]).one("Ingress")["spec"]["tls"] == [{"hosts": ["chat.example.com"]}]
    named = release(SWITCHES["both ways in"]).one("Ingress")["spec"]
    assert named["tls"] == [{"hosts": ["chat.example.com"], "secretName": "tls"}]
    assert "tls" not in release(SWITCHES["ingress without TLS"]).one("Ingress")["spec"]


def test_neither_way_in_is_there_unless_asked_for() -> None:
    assert {"Ingress", "HTTPRoute"} & release(LEAST).kinds() == set()
    assert {"Ingress", "HTTPRoute"} <= release(SWITCHES["both ways in"]).kinds()


def test_timeouts_of_a_gateway_are_those_of_the_conversation_only() -> None:
    rules = release(SWITCHES["gateway"]).one("HTTPRoute")["spec"]["rules"]
    assert [rule.get("timeouts") for rule in rules] == [{"request": "0s"}, None]


def test_the_peer_of_these_tests_is_one_namespace() -> None:
    assert _is_peer(dict(PEER), WELL_KNOWN)
    assert not _is_peer(dict(PEER), STRANGER)
