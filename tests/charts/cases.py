"""Values to render: the least that works, the files that come with the chart, and what its switches turn on."""

from typing import Any, Final

from tests.charts.release import CHATBOT, merged, values_file

SCRIPT: Final = """\
name = "Ada"

[greetings]
"00:00" = "Hello"

[[rule]]
name = "any text"
kind = "text"
say = ["Quite so."]

[[rule]]
name = "any voice"
kind = "voice"
say = ["Quite so."]

[[rule]]
name = "any video"
kind = "video"
say = ["Quite so."]
"""

LEAST: Final[dict[str, Any]] = {
    "auth": {"existingSecret": "tokens"},
    "redis": {"existingSecret": "redis"},
    "mongodb": {"existingSecret": "mongodb"},
    "s3": {"bucket": "media"},
}

OPEN: Final[dict[str, Any]] = {
    "auth": {"mode": "none"},
    "redis": {"url": "redis://redis:6380/0"},
    "mongodb": {"url": "mongodb://one:27018,two:27019/?replicaSet=rs0"},
    "s3": {
        "bucket": "media",
        "prefix": "production",
        "endpointUrl": "http://s3.storage:8333",
        "region": "us-east-1",
        "createBucket": True,
        "existingSecret": "s3",
    },
}
"""Nothing is asked for, and all addresses are plain."""

PEER: Final = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "somewhere"}}}

USUAL_WAYS: Final[dict[str, Any]] = {
    "resources": {"requests": {"cpu": "2", "ephemeral-storage": "1Gi"}, "limits": {"memory": "3Gi"}},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"example.com/c": "d"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "talk", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "runtimeClassName": "gvisor",
    "topologySpreadConstraints": [
        {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    ],
    "podSecurityContext": {"runAsUser": 1234},
    "securityContext": {"readOnlyRootFilesystem": False},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraContainers": [{"name": "beside", "image": "beside:1"}],
    "extraInitContainers": [{"name": "before", "image": "before:1"}],
    "serviceAccount": {"annotations": {"e": "f"}},
    "service": {
        "type": "NodePort",
        "nodePort": 30080,
        "annotations": {"g": "h"},
        "labels": {"i": "j"},
        "appProtocol": "kubernetes.io/ws",
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv6", "IPv4"],
        "externalTrafficPolicy": "Local",
    },
    "image": {"repository": "elsewhere/one", "digest": "sha256:" + "0" * 64},
    "maxSurge": "50%",
    "revisionHistoryLimit": 0,
    "annotations": {"reloader.stakater.com/auto": "true"},
    "schedulerName": "other",
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["redis.internal"]}],
    "dnsPolicy": "ClusterFirst",
    "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
    "startupProbe": {"failureThreshold": 120},
    "livenessProbe": {"tcpSocket": {"port": "http"}},
    "readinessProbe": {"periodSeconds": 1},
    "lifecycle": {"postStart": {"exec": {"command": ["true"]}}},
    "pdb": {"enabled": True, "maxUnavailable": "25%"},
}
"""Everything that people change about any chart."""

SWITCHES: Final[dict[str, dict[str, Any]]] = {
    "least": LEAST,
    "open": OPEN,
    "values-dev.yaml": values_file(CHATBOT / "values-dev.yaml"),
    "values-prod.yaml": values_file(CHATBOT / "values-prod.yaml"),
    "usual ways": merged(LEAST, {"chat": USUAL_WAYS, "history": USUAL_WAYS}),
    "persistent": merged(LEAST, {"chat": {"outbox": {"persistence": {"enabled": True, "storageClass": "fast"}}}}),
    "ingress": merged(LEAST, {"ingress": {"enabled": True, "host": "chat.example.com", "className": "any"}}),
    "ingress without TLS": merged(LEAST, {"ingress": {"enabled": True, "host": "a.b", "tls": {"enabled": False}}}),
    "gateway": merged(
        LEAST,
        {
            "gateway": {
                "enabled": True,
                "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
                "hostnames": ["chat.example.com"],
                "timeouts": {"request": "0s"},
            }
        },
    ),
    "both ways in": merged(
        LEAST,
        {
            "ingress": {"enabled": True, "host": "chat.example.com", "tls": {"secretName": "tls"}},
            "gateway": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["chat.example.com"]},
        },
    ),
    "scaled by CPU": merged(
        LEAST, {"chat": {"autoscaling": {"mode": "cpu"}}, "history": {"autoscaling": {"mode": "cpu"}}}
    ),
    "scaled by connections": merged(
        LEAST, {"chat": {"autoscaling": {"mode": "connections", "prometheusUrl": "http://prometheus:9090"}}}
    ),
    "scaled and persistent": merged(
        LEAST,
        {"chat": {"outbox": {"persistence": {"enabled": True}}, "autoscaling": {"mode": "cpu"}}},
    ),
    "watched by service": merged(LEAST, {"monitoring": {"scrape": {"mode": "service", "labels": {"release": "x"}}}}),
    "watched by pod": merged(
        LEAST,
        {
            "monitoring": {
                "scrape": {"mode": "pod"},
                "rules": {"enabled": True, "disabled": ["ChatbotAnswersSlow"]},
                "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Chatbot"}},
            }
        },
    ),
    "strict network": merged(
        LEAST,
        {
            "networkPolicy": {
                "clients": [PEER],
                "monitoring": [PEER],
                "dns": [PEER],
                "redis": {"to": [PEER], "port": 6380},
                "mongodb": {"to": [PEER]},
                "s3": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
                "extra": {"history": {"egress": [{"to": [PEER], "ports": [{"port": 8080, "protocol": "TCP"}]}]}},
            }
        },
    ),
    "mesh of sidecars": merged(LEAST, {"networkPolicy": {"mesh": {"mode": "istio-sidecar", "controlPlane": [PEER]}}}),
    "ambient mesh": merged(LEAST, {"networkPolicy": {"mesh": {"mode": "istio-ambient"}}}),
    "clouds": merged(
        LEAST,
        {
            "networkPolicy": {
                "podIdentity": {"enabled": True},
                "dns": [PEER, {"ipBlock": {"cidr": "169.254.20.10/32"}}],
                "mongodb": {"to": [{"ipBlock": {"cidr": "10.30.0.0/28"}}], "port": 1024, "endPort": 65535},
            }
        },
    ),
    "bare": merged(
        LEAST,
        {
            "networkPolicy": {"enabled": False},
            "tests": {"enabled": False},
            "chat": {"pdb": {"enabled": False}, "serviceAccount": {"create": False}},
            "history": {"pdb": {"enabled": False}, "serviceAccount": {"create": False, "name": "given"}},
        },
    ),
    "passwords only": merged(
        LEAST,
        {
            "redis": {"url": "rediss://chat@redis:6379/0", "existingSecretPasswordKey": "password"},
            "mongodb": {"url": "mongodb://history@one,two/?replicaSet=rs0", "existingSecretPasswordKey": "password"},
        },
    ),
    "several hosts": merged(
        LEAST,
        {
            "ingress": {
                "enabled": True,
                "host": "chat.example.com",
                "extraHosts": [{"host": "talk.example.com"}, {"host": "a.example", "tlsSecretName": "a-tls"}],
                "tls": {"secretName": "tls"},
            }
        },
    ),
    "scaled by more": merged(
        LEAST,
        {
            "chat": {
                "autoscaling": {
                    "mode": "connections",
                    "prometheusUrl": "http://prometheus:9090",
                    "triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
                }
            },
            "history": {
                "autoscaling": {
                    "mode": "cpu",
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}},
                        }
                    ],
                    "behavior": {"scaleUp": {"stabilizationWindowSeconds": 60}},
                }
            },
        },
    ),
    "watched in detail": merged(
        LEAST,
        {
            "monitoring": {
                "scrape": {
                    "mode": "service",
                    "scrapeTimeout": "10s",
                    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
                    "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"}],
                },
                "rules": {"enabled": True, "alertLabels": {"team": "support"}},
            }
        },
    ),
    "own ends": merged(
        LEAST,
        {
            "preStopSeconds": 15,
            "terminationGracePeriodSeconds": 120,
            "tests": {"podAnnotations": {"sidecar.istio.io/inject": "false"}, "podLabels": {"test": "yes"}},
            "uninstall": {"podAnnotations": {"linkerd.io/inject": "disabled"}},
        },
    ),
    "more objects": merged(
        LEAST,
        {
            "extraObjects": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": "{{ .Release.Name }}-more",
                        "namespace": "{{ .Release.Namespace }}",
                        "labels": {
                            "app.kubernetes.io/instance": "{{ .Release.Name }}",
                            "app.kubernetes.io/managed-by": "Helm",
                        },
                    },
                    "data": {"config": "a: 1"},
                }
            ]
        },
    ),
    "own authorities": merged(LEAST, {"caBundle": {"configMap": "authorities", "key": "bundle.pem"}}),
    "own authorities from a secret": merged(OPEN, {"caBundle": {"secret": "authorities"}}),
    "settings and script": merged(
        LEAST,
        {
            "tests": {"timeZone": "Europe/Berlin"},
            "chat": {
                "settings": {"CHAT_IDLE_SECONDS": 900, "CHAT_TIME_ZONES": "Europe/*", "CHAT_MAX_TEXT_BYTES": 4194304},
                "botScript": SCRIPT,
            },
            "history": {"settings": {"HISTORY_STORE_SECONDS": 2.5}},
        },
    ),
    "a bot that is a service": merged(
        LEAST,
        {
            "chat": {
                "settings": {"CHAT_BOT": "http", "CHAT_BOT_URL": "http://bot.bots.svc/turn"},
                "bot": {"existingSecret": "bot", "secretKey": "bot-secret"},
            }
        },
    ),
    "a bot that is a model": merged(
        LEAST,
        {
            "chat": {
                "settings": {"CHAT_BOT": "llm", "CHAT_LLM_MODEL": "small", "CHAT_LLM_BASE_URL": "http://llm.svc/v1"},
                "bot": {"existingSecret": "bot", "apiKeyKey": "api-key", "speechApiKeyKey": "speech-key"},
            }
        },
    ),
    "speech in the pods": merged(
        LEAST, {"chat": {"speech": {"mode": "embedded", "processes": 2}, "settings": {"CHAT_VOICE_ENGINE": "hibari"}}}
    ),
    "speech by a service": merged(
        LEAST,
        {"chat": {"speech": {"mode": "endpoint"}, "settings": {"CHAT_SPEECH_URL": "http://speech.svc/v1"}}},
    ),
    "names and labels": merged(
        LEAST,
        {
            "fullnameOverride": "assistant",
            "commonLabels": {"team": "support"},
            "commonAnnotations": {"example.com/owner": "support"},
            "image": {"registry": "registry.example.com/team/", "tag": "9.9.9", "pullSecrets": ["login"]},
        },
    ),
    "issuer": merged(
        LEAST,
        {
            "auth": {
                "tokenSecretsKey": "",
                "contextTokenKey": "context-token",
                "mediaAddressSecretsKey": "address-secrets",
                "issuer": "https://login.example",
                "jwksUrl": "https://login.example:8443/keys.json",
            },
            "tests": {"tokenSecret": "client-token"},
        },
    ),
    "issuer beside secrets": merged(LEAST, {"auth": {"jwksUrl": "https://login.example/keys.json"}}),
    "tests with a token": merged(LEAST, {"tests": {"tokenSecret": "client-token"}}),
}
"""Every switch at least once, by what it is about. Each has both services."""

CELLS: Final[dict[str, dict[str, Any]]] = {"values-cell.yaml": values_file(CHATBOT / "values-cell.yaml")}
"""Releases without a history of their own."""
