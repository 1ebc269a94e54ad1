"""Values that cannot work are refused before anything is installed, by a sentence that says what to do."""

from typing import Any

import pytest

from tests.charts.cases import LEAST, OPEN, SWITCHES
from tests.charts.release import merged, refusal, release


def test_nothing_works_by_itself_and_all_that_is_missing_is_told_at_once() -> None:
    said = refusal({})
    assert "auth.existingSecret is needed: the name of a Secret with the keys token-secrets and history-token" in said
    assert "or set auth.mode=none" in said
    assert "redis.existingSecret is needed" in said
    assert "mongodb.existingSecret is needed" in said
    assert "s3.bucket is needed" in said


@pytest.mark.parametrize("needed", LEAST)
def test_each_is_needed(needed: str) -> None:
    said = refusal({name: value for name, value in LEAST.items() if name != needed})
    assert said.count(" is needed") == 1
    assert f"- {needed}." in said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"redis": {"url": "redis://redis"}}, "redis.url and redis.existingSecret are both set"),
        ({"mongodb": {"url": "mongodb://a"}}, "mongodb.url and mongodb.existingSecret are both set"),
        (
            {"redis": {"url": "redis://:pass@redis", "existingSecret": ""}},
            "redis.url holds a password, which everybody could read: put the address into a Secret",
        ),
        (
            {"mongodb": {"url": "mongodb://me:pass@a", "existingSecret": ""}},
            "mongodb.url holds a password",
        ),
        (
            {"auth": {"tokenSecretsKey": "", "mediaAddressSecretsKey": "a"}, "tests": {"enabled": False}},
            "auth.tokenSecretsKey or auth.jwksUrl is needed",
        ),
        (
            {"auth": {"tokenSecretsKey": "", "jwksUrl": "https://a/b"}, "tests": {"enabled": False}},
            "auth.mediaAddressSecretsKey is needed where there are no token secrets",
        ),
        (
            {"auth": {"tokenSecretsKey": "", "jwksUrl": "https://a/b", "mediaAddressSecretsKey": "a"}},
            "tests.tokenSecret is needed where there are no token secrets to sign with",
        ),
        (
            {"redis": {"existingSecretPasswordKey": "password"}},
            "redis.existingSecretPasswordKey needs both: redis.url, the address without the password, and",
        ),
        (
            {"mongodb": {"url": "mongodb://host", "existingSecretPasswordKey": "password"}},
            "mongodb.url names no user for the password",
        ),
        (
            {"terminationGracePeriodSeconds": 39},
            "terminationGracePeriodSeconds (39) must be at least 40, which the sleep before the signal",
        ),
        ({"ingress": {"enabled": True}}, "ingress.host is needed"),
        (
            {"publicPage": True, "chat": {"settings": {"CHAT_WEB": False}}},
            "publicPage is true, and chat.settings turns the page off (CHAT_WEB)",
        ),
        ({"gateway": {"enabled": True, "hostnames": ["a.b"]}}, "gateway.parentRefs is needed"),
        ({"gateway": {"enabled": True, "parentRefs": [{"name": "a"}]}}, "gateway.hostnames is needed"),
        ({"sizing": {"maxFrameMiB": 64}}, "sizing.maxConnectionMiB (32) must be at least sizing.maxFrameMiB (64)"),
        (
            {"chat": {"outbox": {"maxMiB": 20}}},
            "chat.outbox.maxMiB (20) must be at least twice sizing.maxFrameMiB (16)",
        ),
        ({"caBundle": {"configMap": "a", "secret": "b"}}, "caBundle.configMap and caBundle.secret are both set"),
        ({"limits": {"connections": 100_000}}, "limit the connections of a pod with sizing.connectionsPerPod"),
        (
            {"limits": {"connections": 2000}, "sizing": {"connectionsPerPod": 250}},
            "pods may hold at sizing.connectionsPerPod (250) each: have 1000 connections for each pod, or 8 pods",
        ),
        (
            {
                "limits": {"connections": 2001},
                "sizing": {"connectionsPerPod": 250},
                "chat": {"autoscaling": {"mode": "cpu", "maxReplicas": 8}},
            },
            "limits.connections (2001) is more than chat.autoscaling.maxReplicas (8) pods may hold",
        ),
        (
            {
                "sizing": {"connectionsPerPod": 40},
                "chat": {"autoscaling": {"mode": "connections", "connectionsPerPod": 40, "prometheusUrl": "http://p"}},
            },
            "chat.autoscaling.connectionsPerPod (40) must be less than sizing.connectionsPerPod (40)",
        ),
        (
            {"history": {"autoscaling": {"mode": "cpu", "minReplicas": 3, "maxReplicas": 2}}},
            "history.autoscaling.minReplicas (3) must not be more than maxReplicas (2)",
        ),
        ({"chat": {"autoscaling": {"mode": "connections"}}}, "chat.autoscaling.prometheusUrl is needed"),
        (
            {"chat": {"extraEnv": [{"name": "CHAT_REDIS_URL", "value": "redis://other"}]}},
            "chat.extraEnv holds CHAT_REDIS_URL, which the chart sets: use its own value",
        ),
        (
            {"history": {"extraEnv": [{"name": "HISTORY_PORT", "value": "1"}]}},
            "history.extraEnv holds HISTORY_PORT, which would override what the chart sets from its values",
        ),
        (
            {"chat": {"settings": {"CHAT_TIME_ZONES": "Europe/*,+0?:00"}}},
            "tests.timeZone (Etc/UTC) is not among the served zones (CHAT_TIME_ZONES: Europe/*,+0?:00)",
        ),
        (
            {"chat": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
            "A is 2 times in chat.extraEnv: remove all but one",
        ),
        (
            {"history": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}},
            "tmp is 2 times in history.extraVolumes and the volumes of the chart",
        ),
        (
            {"chat": {"extraInitContainers": [{"name": "chat", "image": "a:1"}]}},
            "chat is 2 times in chat.extraContainers and extraInitContainers (with the container chat)",
        ),
        (
            {"ingress": {"enabled": True, "host": "a.b", "extraHosts": [{"host": "a.b"}]}},
            "a.b is 2 times in ingress.host and extraHosts",
        ),
        (
            {"networkPolicy": {"mongodb": {"port": 2000, "endPort": 1000}}},
            "networkPolicy.mongodb.endPort (1000) must not be less than port (2000)",
        ),
        (
            {"chat": {"service": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}}},
            "chat.service.ipFamilies holds two, and ipFamilyPolicy SingleStack allows one",
        ),
        (
            {"history": {"service": {"externalTrafficPolicy": "Local"}}},
            "history.service.externalTrafficPolicy is not for a service of type ClusterIP",
        ),
        ({"chat": {"service": {"nodePort": 30080}}}, "chat.service.nodePort is not for a service of type ClusterIP"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_does_not_fit_together_is_told(values: dict[str, Any], said: str) -> None:
    refused = refusal(merged(LEAST, values))
    assert said in refused
    assert refused.count("\n  - ") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"chat": {"replicaCount": 3}}, "at '/chat': additional properties 'replicaCount' not allowed"),
        ({"chat": {"outbox": {"persistent": True}}}, "additional properties 'persistent' not allowed"),
        ({"chat": {"replicas": -1}}, "at '/chat/replicas': minimum: got -1, want 0"),
        ({"chat": {"replicas": "two"}}, "at '/chat/replicas': got string, want integer"),
        ({"auth": {"mode": "oidc"}}, "at '/auth/mode': value must be one of 'jwt', 'none'"),
        ({"redis": {"url": "redis.example.com:6379"}}, "at '/redis/url': 'redis.example.com:6379' does not match"),
        ({"s3": {"endpointUrl": "s3.example.com"}}, "at '/s3/endpointUrl'"),
        ({"auth": {"jwksUrl": "http://login.example/keys"}}, "at '/auth/jwksUrl'"),
        ({"drainSeconds": 0}, "at '/drainSeconds': minimum: got 0, want 1"),
        ({"log": {"level": "trace"}}, "value must be one of 'debug', 'info', 'warning', 'error'"),
        ({"chat": {"pdb": {"maxUnavailable": 0}}}, "at '/chat/pdb/maxUnavailable': minimum: got 0, want 1"),
        ({"chat": {"pdb": {"minAvailable": 1}}}, "additional properties 'minAvailable' not allowed"),
        ({"chat": {"image": {"digest": "latest"}}}, "at '/chat/image/digest'"),
        ({"history": {"autoscaling": {"mode": "connections"}}}, "at '/history/autoscaling/mode'"),
        ({"monitoring": {"scrape": {"mode": "both"}}}, "value must be one of '', 'service', 'pod'"),
        ({"sizing": {"mediaProcesses": 65}}, "at '/sizing/mediaProcesses': maximum: got 65, want 64"),
        ({"chat": {"nodeSelector": {"disk": 1}}}, "at '/chat/nodeSelector/disk': got number, want string"),
        ({"publicPaths": {"history": ["v1"]}}, "at '/publicPaths/history/0'"),
        ({"chat": {"extraEnv": [{"name": "A", "value": 5}]}}, "at '/chat/extraEnv/0/value': got number"),
        ({"chat": {"podLabels": {"team": "a b"}}}, "at '/chat/podLabels/team'"),
        ({"commonLabels": {"team": "x" * 64}}, "at '/commonLabels/team'"),
        ({"commonLabels": {"a team": "x"}}, "invalid propertyName 'a team'"),
        ({"chat": {"startupProbe": {"enabled": False}}}, "additional properties 'enabled' not allowed"),
        ({"chat": {"image": {"repository": "team/chat:1.2"}}}, "at '/chat/image/repository'"),
        ({"image": {"registry": "https://registry.example.com"}}, "at '/image/registry'"),
        ({"ingress": {"host": "10.0.0.1"}}, "at '/ingress/host'"),
        ({"ingress": {"host": "a..b"}}, "at '/ingress/host'"),
        ({"gateway": {"timeouts": {"request": "forever"}}}, "at '/gateway/timeouts/request'"),
        ({"listenAddress": "[::]"}, "at '/listenAddress'"),
        ({"listenAddress": "127.0.0.1"}, "at '/listenAddress'"),
        (
            {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0"}}]}},
            "at '/networkPolicy/clients/0/ipBlock/cidr'",
        ),
        ({"networkPolicy": {"clients": [{"namespaceSelectr": {}}]}}, "properties 'namespaceSelectr' not allowed"),
        ({"chat": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": "a"}]}}, "at '/chat/hostAliases/0/hostnames'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_keys_that_are_unknown_and_values_of_the_wrong_kind_are_told(values: dict[str, Any], said: str) -> None:
    assert said in refusal(merged(LEAST, values))


@pytest.mark.parametrize(
    "chat",
    [{"replicas": 8}, {"replicas": None}, {"replicas": 0}, {"autoscaling": {"mode": "cpu", "maxReplicas": 8}}],
    ids=["enough", "left to others", "none", "scaled"],
)
def test_pods_that_can_hold_what_is_allowed_are_taken(chat: dict[str, Any]) -> None:
    made = release(merged(LEAST, {"limits": {"connections": 2000}, "sizing": {"connectionsPerPod": 250}, "chat": chat}))
    assert made.one("ConfigMap", "-chat")["data"]["CHAT_MAX_CONNECTIONS_PER_POD"] == "250"


def test_production_leaves_room_for_a_pod_that_is_replaced() -> None:
    values = SWITCHES["values-prod.yaml"]
    most = values["chat"]["autoscaling"]["maxReplicas"]
    assert (most - 1) * values["sizing"]["connectionsPerPod"] >= values["limits"]["connections"]
    assert most * values["chat"]["autoscaling"]["connectionsPerPod"] >= values["limits"]["connections"]


@pytest.mark.parametrize(
    ("served", "zone"),
    [("UTC", "Etc/UTC"), ("*", "Etc/UTC"), ("Asia/*, Europe/*", "Europe/Berlin"), ("+0?:00", "+07:00")],
)
def test_a_zone_that_is_served_is_taken(served: str, zone: str) -> None:
    release(merged(LEAST, {"chat": {"settings": {"CHAT_TIME_ZONES": served}}, "tests": {"timeZone": zone}}))


@pytest.mark.parametrize(
    "values",
    [
        {"chat": {"image": {"repository": "registry.example.com:5000/team/chat_bot/chat"}}},
        {"image": {"registry": "registry.example.com:5000/team/"}},
        {"listenAddress": "::"},
        {"ingress": {"enabled": True, "host": "*.example.com", "extraHosts": [{"host": "xn--bcher-kva.example"}]}},
        {"networkPolicy": {"redis": {"to": [{"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}}]}}},
        {"chat": {"livenessProbe": {"httpGet": None, "tcpSocket": {"port": "http"}}}},
        {
            "chat": {
                "extraEnv": [{"name": "A"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
            }
        },
        {"commonLabels": {"example.com/team": "A.b_c-d", "empty": ""}},
        {"chat": {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "nodePort": 30080}}},
    ],
)
def test_unusual_values_that_work_are_taken(values: dict[str, Any]) -> None:
    assert release(merged(LEAST, values)).objects


def test_open_doors_must_be_asked_for_and_are_mentioned() -> None:
    assert "do not let this be reached from outside" in release(OPEN).notes
    assert "do not let this be reached from outside" not in release(LEAST).notes
