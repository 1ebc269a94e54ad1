"""What matters about the pods: how they are confined, how they end, how they are watched, where they run."""

import math
from itertools import chain
from typing import Any

import pytest

from chat_service.memory import worst_pod_bytes
from chat_service.settings import ChatSettings
from tests.charts.cases import LEAST, SWITCHES, USUAL_WAYS
from tests.charts.release import Object, chart, merged, release

cases = pytest.mark.parametrize("values", SWITCHES.values(), ids=SWITCHES.keys())
parts = pytest.mark.parametrize("part", ["chat", "history"])

PERSISTENT = SWITCHES["persistent"]
AFTER_THE_DRAIN_SECONDS = 6  # servicekit.runner: CLOSE_SECONDS and ABORT_SECONDS
OWN_SECURITY = {"usual ways"}  # cases that loosen it on purpose


def _security(pod: Object) -> list[dict[str, Any]]:
    ours = [one for one in pod["spec"]["containers"] if one["name"] in {"chat", "history", "client", "uninstall"}]
    return [one["securityContext"] for one in ours]


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in OWN_SECURITY])
def test_pods_are_restricted(name: str) -> None:
    pods = list(release(SWITCHES[name]).pods())
    assert len(pods) >= 2
    for _, pod in pods:
        of_pod = pod["spec"]["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert (of_pod["runAsUser"], of_pod["runAsGroup"]) == (10001, 10001)
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
        assert _security(pod) == [
            {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        ]


@cases
def test_no_pod_is_given_a_key_to_the_cluster(values: dict[str, Any]) -> None:
    made = release(values)
    for name, pod in made.pods():
        assert pod["spec"]["automountServiceAccountToken"] is name.endswith("-uninstall")  # it scales chat to nothing
        assert pod["spec"]["enableServiceLinks"] is False  # a Service named chat would set CHAT_PORT
    for account in made.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@cases
def test_what_a_pod_may_write_is_bounded_and_there(values: dict[str, Any]) -> None:
    made = release(values)
    for workload in made.workloads():
        spec = workload["spec"]["template"]["spec"]
        given = {volume["name"] for volume in spec.get("volumes", [])}
        claimed = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounted <= given | claimed
        for volume in spec["volumes"]:
            if volume["name"] in {"tmp", "data"}:
                assert "sizeLimit" in volume["emptyDir"]
    paths = [mount["mountPath"] for mount in made.container("chat")["volumeMounts"]]
    assert {"/tmp", "/data"} <= set(paths)


@cases
@parts
def test_the_grace_period_covers_the_whole_end(values: dict[str, Any], part: str) -> None:
    made = release(values)
    spec = made.workload(part)["spec"]["template"]["spec"]
    (slept,) = (int(word) for word in made.container(part)["lifecycle"]["preStop"]["exec"]["command"][1:])
    config = made.one("ConfigMap", f"-{part}")["data"]
    drain = int(config[f"{part.upper()}_DRAIN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= slept + drain + AFTER_THE_DRAIN_SECONDS


@parts
@pytest.mark.parametrize(("drain", "slept"), [(1, 3), (25, 5), (40, 8), (300, 10)])
def test_one_number_drives_the_end(part: str, drain: int, slept: int) -> None:
    made = release(merged(LEAST, {"drainSeconds": drain}))
    assert made.one("ConfigMap", f"-{part}")["data"][f"{part.upper()}_DRAIN_SECONDS"] == str(drain)
    assert made.container(part)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(slept)]
    assert made.workload(part)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == drain + slept + 10


@parts
def test_probes_ask_different_questions(part: str) -> None:
    container = release(LEAST).container(part)
    asked = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    alive, ready = container["livenessProbe"], container["readinessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] > ready["periodSeconds"] * ready["failureThreshold"]


@cases
def test_every_port_has_a_protocol(values: dict[str, Any]) -> None:
    made = release(values)
    containers = [one for _, pod in made.pods() for one in pod["spec"]["containers"]]
    ports = [*chain.from_iterable(service["spec"]["ports"] for service in made.all("Service"))]
    ports += [*chain.from_iterable(container.get("ports", []) for container in containers)]
    assert len(ports) >= 8
    assert all(port["protocol"] == "TCP" for port in ports)


@cases
def test_what_selects_pods_finds_those_of_one_part(values: dict[str, Any]) -> None:
    made = release(values)
    budgets, services = made.all("PodDisruptionBudget"), made.all("Service")
    selectors = [(one, one["spec"]["selector"]["matchLabels"]) for one in [*made.workloads(), *budgets]]
    selectors += [(one, one["spec"]["selector"]) for one in services]
    for one, selector in selectors:
        part = "history" if "-history" in one["metadata"]["name"] else "chat"
        found = [name for name, pod in made.pods() if selector.items() <= pod["metadata"]["labels"].items()]
        assert found == [made.workload(part)["metadata"]["name"]], one


@cases
def test_services_lead_to_ports_that_containers_have(values: dict[str, Any]) -> None:
    made = release(values)
    for service in made.all("Service"):
        part = service["spec"]["selector"]["app.kubernetes.io/component"]
        there = {port["name"] for port in made.container(part)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= there


@parts
def test_an_update_never_takes_a_pod_before_its_successor_is_ready(part: str) -> None:
    assert release(LEAST).workload(part)["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


def test_a_persistent_outbox_makes_chat_a_stateful_set() -> None:
    made = release(PERSISTENT)
    chat = made.one("StatefulSet")
    (claim,) = chat["spec"]["volumeClaimTemplates"]
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1280Mi"
    headless = made.one("Service", chat["spec"]["serviceName"])
    assert headless["spec"]["clusterIP"] == "None"
    assert "data" not in {volume["name"] for volume in chat["spec"]["template"]["spec"]["volumes"]}
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in made.container("chat")["volumeMounts"]


@pytest.mark.parametrize("outbox_mib", [64, 1024, 5000])
def test_the_outbox_fits_on_its_volume(outbox_mib: int) -> None:
    made = release(merged(LEAST, {"chat": {"outbox": {"maxMiB": outbox_mib}}}))
    (data,) = (one for one in made.workload("chat")["spec"]["template"]["spec"]["volumes"] if one["name"] == "data")
    assert made.one("ConfigMap", "-chat")["data"]["CHAT_OUTBOX_MAX_BYTES"] == f"{outbox_mib}MiB"
    assert int(data["emptyDir"]["sizeLimit"].removesuffix("Mi")) >= outbox_mib * 1.2


def test_memory_follows_from_what_a_pod_may_hold() -> None:
    sizing = {"maxFrameMiB": 8, "maxPodMiB": 256, "mediaProcesses": 3, "connectionsPerPod": 20}
    resources = release(merged(LEAST, {"sizing": sizing, "chat": {"replicas": 3}})).container("chat")["resources"]
    assert resources["limits"] == {"memory": f"{200 + 256 + 8 * 20 + 3 * 1024}Mi"}
    assert resources["requests"] == {"cpu": "250m", "memory": f"{200 + 3 * 128 + 256 // 2}Mi"}
    all_on_one = release(merged(LEAST, {"limits": {"connections": 7}})).container("chat")["resources"]
    worst = worst_pod_bytes(ChatSettings.model_validate({}), connections=7)
    assert all_on_one["limits"] == {"memory": f"{worst // 1024**2}Mi"}


@pytest.mark.parametrize(
    ("speech", "settings"),
    [
        ({"mode": "embedded"}, {}),
        ({"mode": "embedded", "processes": 3, "maxProcessMiB": 2000, "maxRecordings": 10}, {}),
        ({"mode": "embedded"}, {"CHAT_MEDIA_MAX_SECONDS": 600}),
        ({"mode": "endpoint", "maxRecordings": 100}, {"CHAT_MEDIA_MAX_SECONDS": 7200}),
    ],
    ids=["usual", "more", "long recordings", "a service"],
)
def test_memory_is_enough_for_speech(speech: dict[str, Any], settings: dict[str, Any]) -> None:
    url = {"CHAT_SPEECH_URL": "http://speech.svc/v1"} if speech["mode"] == "endpoint" else {}
    container = release(merged(LEAST, {"chat": {"speech": speech, "settings": settings | url}})).container("chat")
    read = {
        "speech": speech["mode"],
        "speech_url": url.get("CHAT_SPEECH_URL"),
        "speech_processes": speech.get("processes", 1),
        "speech_memory": f"{speech.get('maxProcessMiB', 1536)}MiB",
        "speech_max_recordings": speech.get("maxRecordings", 64),
        "media_max_seconds": settings.get("CHAT_MEDIA_MAX_SECONDS", 120),
    }
    worst = worst_pod_bytes(ChatSettings.model_validate(read), connections=50)
    assert container["resources"]["limits"] == {"memory": f"{math.ceil(worst / 1024**2)}Mi"}
    in_the_pod = speech.get("processes", 1) if speech["mode"] == "embedded" else 0
    assert container["resources"]["requests"] == {
        "cpu": f"{250 + 500 * in_the_pod}m",
        "memory": f"{200 + 2 * 128 + 512 // 2 + 400 * in_the_pod}Mi",
    }


@pytest.mark.parametrize("cache_bytes", [0, 16 * 2**20, 16 * 2**20 + 1, 2**30])
@pytest.mark.parametrize("mode", ["", "embedded"])
def test_memory_is_enough_for_kept_speech(mode: str, cache_bytes: int) -> None:
    chat = {"speech": {"mode": mode}, "settings": {"CHAT_VOICE_CACHE": cache_bytes}}
    read = {"speech": mode or "off", "voice_cache": cache_bytes}
    worst = worst_pod_bytes(ChatSettings.model_validate(read), connections=50)
    limits = release(merged(LEAST, {"chat": chat})).container("chat")["resources"]["limits"]
    assert limits == {"memory": f"{math.ceil(worst / 1024**2)}Mi"}


@pytest.mark.parametrize("part", ["chat", "history"])
def test_null_takes_an_amount_away_that_the_chart_works_out(part: str) -> None:
    changed = {part: {"resources": {"limits": {"memory": None}, "requests": {"memory": "1Gi"}}}}
    resources = release(merged(LEAST, changed)).container(part)["resources"]
    assert not resources["limits"]
    assert resources["requests"]["memory"] == "1Gi"
    assert resources["requests"]["cpu"]


@pytest.mark.parametrize(
    ("chat", "repository"),
    [
        ({}, "chatbot-chat"),
        ({"speech": {"mode": "endpoint"}, "settings": {"CHAT_SPEECH_URL": "http://speech.svc/v1"}}, "chatbot-chat"),
        ({"speech": {"mode": "embedded"}}, "chatbot-chat-speech"),
        ({"settings": {"CHAT_VOICE_ENGINE": "hibari"}}, "chatbot-chat-speech"),
        ({"speech": {"mode": "embedded"}, "image": {"speechRepository": "own/one"}}, "own/one"),
    ],
)
def test_the_image_with_speech_is_taken_where_it_is_needed(chat: dict[str, Any], repository: str) -> None:
    made = release(merged(LEAST, {"chat": chat}))
    images = {container["image"] for _, pod in made.pods() for container in pod["spec"]["containers"]}
    version = chart().metadata["appVersion"]
    assert images == {f"{repository}:{version}", f"chatbot-history:{version}"}


@cases
def test_memory_is_requested_and_bounded_everywhere(values: dict[str, Any]) -> None:
    for _, pod in release(values).pods():
        for container in pod["spec"]["containers"]:
            if container["name"] in {"chat", "history", "client", "uninstall"}:
                assert "memory" in container["resources"]["limits"]
                assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


@cases
def test_a_budget_always_lets_one_pod_go(values: dict[str, Any]) -> None:
    for budget in release(values).all("PodDisruptionBudget"):
        assert "minAvailable" not in budget["spec"]
        may_go = budget["spec"]["maxUnavailable"]
        assert may_go == "25%" or may_go >= 1


def test_a_share_that_may_go_is_rounded_up_even_of_one_pod() -> None:
    share = int(release(SWITCHES["usual ways"]).one("PodDisruptionBudget", "-chat")["spec"]["maxUnavailable"][:-1])
    assert math.ceil(1 * share / 100) == 1  # as Kubernetes counts it


@parts
def test_pods_spread_over_nodes_and_zones_but_start_anyway(part: str) -> None:
    workload = release(LEAST).workload(part)
    spread = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for one in spread:
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"
        assert one["labelSelector"] == workload["spec"]["selector"]


@parts
def test_the_usual_ways_lead_to_the_pods(part: str) -> None:
    made = release(SWITCHES["usual ways"])
    pod = made.workload(part)["spec"]["template"]
    spec, container = pod["spec"], made.container(part)
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName"):
        assert spec[key] == USUAL_WAYS[key]
    assert spec["topologySpreadConstraints"] == USUAL_WAYS["topologySpreadConstraints"]
    assert pod["metadata"]["annotations"].items() >= USUAL_WAYS["podAnnotations"].items()
    assert pod["metadata"]["labels"].items() >= USUAL_WAYS["podLabels"].items()
    assert container["image"] == "elsewhere/one@sha256:" + "0" * 64
    assert container["resources"]["requests"].items() >= USUAL_WAYS["resources"]["requests"].items()
    assert container["resources"]["limits"] == {"memory": "3Gi"}
    assert container["env"][-1:] == USUAL_WAYS["extraEnv"]
    assert container["envFrom"][-1:] == USUAL_WAYS["extraEnvFrom"]
    assert container["volumeMounts"][-1:] == USUAL_WAYS["extraVolumeMounts"]
    assert spec["volumes"][-1:] == USUAL_WAYS["extraVolumes"]
    assert spec["containers"][1:] == USUAL_WAYS["extraContainers"]
    assert spec["initContainers"] == USUAL_WAYS["extraInitContainers"]
    assert spec["securityContext"]["runAsUser"] == 1234
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    service = made.one("Service", f"-{part}")
    assert service["spec"]["type"] == "NodePort"
    assert service["spec"]["ports"][0].items() >= {"nodePort": 30080, "appProtocol": "kubernetes.io/ws"}.items()
    assert service["metadata"]["annotations"] == {"g": "h"}
    account = made.one("ServiceAccount", f"-{part}")
    assert account["metadata"]["annotations"] == {"e": "f"}
    assert spec["serviceAccountName"] == account["metadata"]["name"]


def test_labels_of_ours_cannot_be_taken_over() -> None:
    ours = "app.kubernetes.io/component"
    values = merged(LEAST, {"commonLabels": {ours: "other"}, "chat": {"podLabels": {ours: "other"}}})
    made = release(values)
    assert made.workload("chat")["spec"]["template"]["metadata"]["labels"][ours] == "chat"
    assert made.one("Service", "-chat")["metadata"]["labels"][ours] == "chat"


def test_images_and_names_as_asked() -> None:
    made = release(SWITCHES["names and labels"])
    assert made.container("chat")["image"] == "registry.example.com/team/chatbot-chat:9.9.9"
    assert made.container("history")["image"] == "registry.example.com/team/chatbot-history:9.9.9"
    assert {pod["spec"]["imagePullSecrets"][0]["name"] for _, pod in made.pods()} == {"login"}
    for one in made.objects:
        assert one["metadata"]["name"].startswith("assistant")
        assert one["metadata"]["labels"]["team"] == "support"
        assert one["metadata"]["annotations"]["example.com/owner"] == "support"


@parts
def test_a_change_of_settings_replaces_pods_and_a_new_chart_does_not(part: str) -> None:
    def template(values: dict[str, Any]) -> Object:
        found: Object = release(values).workload(part)["spec"]["template"]
        return found

    before = template(LEAST)
    level = template(merged(LEAST, {"log": {"level": "debug"}}))
    assert before["metadata"]["annotations"]["checksum/config"] != level["metadata"]["annotations"]["checksum/config"]
    assert "helm.sh/chart" not in before["metadata"]["labels"]
    assert "app.kubernetes.io/version" not in before["metadata"]["labels"]


def test_a_new_script_replaces_chat() -> None:
    sums = {
        release(merged(LEAST, {"chat": {"botScript": script}})).workload("chat")["spec"]["template"]["metadata"][
            "annotations"
        ]["checksum/config"]
        for script in ("", 'name = "Ada"\n', 'name = "Bob"\n')
    }
    assert len(sums) == 3


@parts
def test_scaling_by_cpu_takes_over_the_number_of_pods(part: str) -> None:
    made = release(SWITCHES["scaled by CPU"])
    scaler = made.one("HorizontalPodAutoscaler", f"-{part}")["spec"]
    workload = made.workload(part)
    assert "replicas" not in workload["spec"]
    assert scaler["scaleTargetRef"]["kind"] == workload["kind"]
    assert scaler["scaleTargetRef"]["name"] == workload["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize(("mode", "kind"), [("cpu", "HorizontalPodAutoscaler"), ("connections", "ScaledObject")])
def test_what_scales_finds_chat_whatever_it_is(persistent: bool, mode: str, kind: str) -> None:
    chat = {
        "outbox": {"persistence": {"enabled": persistent}},
        "autoscaling": {"mode": mode, **({"prometheusUrl": "http://p"} if mode == "connections" else {})},
    }
    made = release(merged(LEAST, {"chat": chat}))
    workload = made.workload("chat")
    target = made.one(kind)["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": workload["kind"], "name": workload["metadata"]["name"]}
    assert workload["kind"] == ("StatefulSet" if persistent else "Deployment")
    assert "replicas" not in workload["spec"]


def test_own_authorities_are_where_clients_look() -> None:
    for name in ("own authorities", "own authorities from a secret"):
        made = release(SWITCHES[name])
        for part in ("chat", "history"):
            container = made.container(part)
            env = {one["name"]: one.get("value") for one in container["env"]}
            assert env["SSL_CERT_FILE"] == env["AWS_CA_BUNDLE"] == "/etc/chatbot/ca/ca.crt"
            (mount,) = (one for one in container["volumeMounts"] if one["name"] == "ca")
            assert mount == {"name": "ca", "mountPath": "/etc/chatbot/ca", "readOnly": True}
            (volume,) = (
                one for one in made.workload(part)["spec"]["template"]["spec"]["volumes"] if one["name"] == "ca"
            )
            source = volume.get("configMap") or volume["secret"]
            assert source["items"][0]["path"] == "ca.crt"
