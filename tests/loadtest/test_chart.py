"""The chart of the swarm, rendered without a cluster."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="NOT CHECKED: charts/loadtest; Helm comes with the chart tests")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

CHART = Path(__file__).parents[2] / "charts/loadtest"
LEAST: dict[str, Any] = {
    "target": {"chat": "ws://chat:8000", "history": "http://history:8001", "redis": {"url": "redis://valkey:6379/0"}}
}
MOST: dict[str, Any] = {
    "plan": "soak",
    "soakSeconds": 600,
    "workers": 3,
    "commonLabels": {"team": "support"},
    "commonAnnotations": {"why": "a test"},
    "image": {"registry": "registry.example.com", "pullSecrets": ["login"], "tag": "1.2.3"},
    "target": {
        "chat": "wss://chat.example.com",
        "history": "https://history.example.com",
        "metrics": ["chat=http://chat-headless:9000/metrics", "history=http://history-headless:9001/metrics"],
        "redis": {"existingSecret": "store", "secretKey": "address", "permitsPrefix": "permits:blue:talk"},
    },
    "auth": {"existingSecret": "tokens"},
    "report": {"existingClaim": "reports"},
    "priorityClassName": "low",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "load", "operator": "Exists"}],
    "podLabels": {"app.kubernetes.io/component": "mine"},
}


def objects(values: dict[str, Any]) -> list[dict[str, Any]]:
    return _rendered(json.dumps(values))


@cache
def _rendered(values: str) -> list[dict[str, Any]]:
    rendered = helm.Chart.load(CHART).render(json.loads(values), name="run", namespace="rooms")
    pages = [page for name, text in rendered.items() if name.endswith(".yaml") for page in yaml.safe_load_all(text)]
    return [page for page in pages if page]


def job(values: dict[str, Any], part: str) -> dict[str, Any]:
    (found,) = (o for o in objects(values) if o["kind"] == "Job" and o["metadata"]["name"] == f"run-loadtest-{part}")
    return found


def container(values: dict[str, Any], part: str) -> dict[str, Any]:
    (only,) = job(values, part)["spec"]["template"]["spec"]["containers"]
    return dict(only)


def variables(values: dict[str, Any], part: str) -> dict[str, Any]:
    return {one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"] for one in container(values, part)["env"]}


@pytest.mark.parametrize("values", [LEAST, MOST], ids=["least", "most"])
def test_helm_and_kubernetes_have_nothing_to_say(values: dict[str, Any]) -> None:
    found = helm.lint(CHART, values, strict=True)
    assert found["errors"] == []
    for version in ("1.25", kubernetes_validate.latest_version()):
        for one in objects(values):
            kubernetes_validate.validate(one, version, strict=True)


def test_every_port_has_a_protocol() -> None:
    ports = [*container(LEAST, "judge")["ports"]]
    ports += [port for one in objects(LEAST) if one["kind"] == "Service" for port in one["spec"]["ports"]]
    assert [port["protocol"] for port in ports] == ["TCP", "TCP"]


def test_the_judge_is_told_everything_and_expects_its_workers() -> None:
    args = container(MOST, "judge")["args"]
    told = dict(zip(args[1::2], args[2::2], strict=True))
    assert args[0] == "soak"
    assert told["--chat"] == "wss://chat.example.com"
    assert told["--expect-workers"] == "3"
    assert told["--seconds"] == "600"
    assert args.count("--metrics") == 2
    assert variables(MOST, "judge")["CHAT_REDIS_URL"] == {"name": "store", "key": "address"}
    assert variables(LEAST, "judge")["CHAT_REDIS_URL"] == "redis://valkey:6379/0"
    assert variables(LEAST, "judge")["CHAT_PERMITS_PREFIX"] == "permits:rooms:chatbot"
    assert variables(MOST, "judge")["CHAT_PERMITS_PREFIX"] == "permits:blue:talk"


def test_workers_run_the_same_shape_and_find_the_judge() -> None:
    args = container(MOST, "worker")["args"]
    assert args[args.index("-f") + 1] == "loadtest/locustfile.py,loadtest/shapes/soak.py"
    service = next(one for one in objects(MOST) if one["kind"] == "Service")
    assert args[args.index("--master-host") + 1] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= job(MOST, "judge")["spec"]["template"]["metadata"]["labels"].items()
    assert job(MOST, "worker")["spec"]["parallelism"] == job(MOST, "worker")["spec"]["completions"] == 3


def test_every_argument_of_the_judge_is_one_that_the_command_knows(capsys: pytest.CaptureFixture[str]) -> None:
    from loadtest.__main__ import main  # noqa: PLC0415 - only this test needs it

    args = [*container(MOST, "judge")["args"], "--no-such-option"]
    with pytest.raises(SystemExit):
        main(args)
    assert "unrecognized arguments: --no-such-option\n" in capsys.readouterr().err


def test_clients_show_tokens_where_a_secret_is_named() -> None:
    assert variables(MOST, "worker")["LOADTEST_TOKEN_SECRET"] == {"name": "tokens", "key": "token-secrets"}
    assert "LOADTEST_TOKEN_SECRET" not in variables(LEAST, "worker")


def test_pods_have_no_rights() -> None:
    for part in ("judge", "worker"):
        pod = job(MOST, part)["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container(MOST, part)["securityContext"]["readOnlyRootFilesystem"] is True
        assert container(MOST, part)["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_only_workers_reach_the_judge() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in objects(LEAST) if one["kind"] == "NetworkPolicy"}
    (rule,) = policies["run-loadtest-judge"]["ingress"]
    labels = rule["from"][0]["podSelector"]["matchLabels"]
    assert labels.items() <= job(LEAST, "worker")["spec"]["template"]["metadata"]["labels"].items()
    assert "ingress" not in policies["run-loadtest-worker"]


def test_a_users_label_does_not_hide_a_pod_from_its_selectors() -> None:
    assert job(MOST, "judge")["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "judge"


@pytest.mark.parametrize(
    ("values", "about"),
    [
        ({}, "chat"),
        ({"target": {**LEAST["target"], "chat": "http://chat"}}, "chat"),
        ({"target": {**LEAST["target"], "redis": {"url": ""}}}, "redis"),
        ({"target": {**LEAST["target"], "redis": {"url": "redis://x", "existingSecret": "both"}}}, "redis"),
        ({**LEAST, "plan": "ui"}, "plan"),
        ({**LEAST, "workers": 0}, "workers"),
        ({**LEAST, "wokers": 2}, "wokers"),
        ({**LEAST, "image": {"digest": "latest"}}, "digest"),
    ],
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any], about: str) -> None:
    with pytest.raises(Exception, match=about):
        objects(values)
