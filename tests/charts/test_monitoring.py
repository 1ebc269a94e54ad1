"""Alerts and dashboards speak of metrics that exist, and lead to what is to be done."""

import json
import re
from itertools import product
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.charts.cases import LEAST, SWITCHES
from tests.charts.metrics import OF_KUBERNETES, asked_for, exported, grouped_by, labels, names, nodes, selectors
from tests.charts.release import CHATBOT, NAME, NAMESPACE, Object, chart, merged, release

ROOT = CHATBOT.parents[1]
OPERATIONS = ROOT / "docs/operations.md"
WATCHED = SWITCHES["watched by pod"]
ALL_RULES = {"monitoring": {"rules": {"disabled": [], "runbookUrl": "docs/operations.md"}}}
ALERTS: list[Object] = release(merged(WATCHED, ALL_RULES)).one("PrometheusRule")["spec"]["groups"][0]["rules"]
DASHBOARDS: dict[str, Object] = {path.stem: json.loads(path.read_text()) for path in CHATBOT.glob("dashboards/*.json")}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
]
alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
dashboards = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS.keys())
SELECTOR = f'namespace="{NAMESPACE}",pod=~"{NAME}-chatbot-(chat|history)-.+"'
DURING_SCRAPES = {"$__rate_interval": "1m"}  # what Grafana puts in


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pods that have done nothing yet show to Prometheus."""
    return exported(tmp_path_factory.mktemp("pods"))


@pytest.fixture(scope="module")
def metrics(page: str) -> set[str]:
    return names(page)


def _plain(query: str) -> str:
    for variable, value in DURING_SCRAPES.items():
        query = query.replace(variable, value)
    return query


def _check(query: str, metrics: set[str]) -> None:
    for name, filtered in asked_for(query).items():
        assert name in metrics
        assert filtered >= {"namespace", "pod"}, "it would count the pods of other releases, too"
        assert filtered <= labels(name)
    kept: frozenset[str] = frozenset().union(*(labels(name) for name in asked_for(query)))
    assert grouped_by(query) <= kept


@alerts
def test_an_alert_asks_for_what_there_is(alert: Object, metrics: set[str]) -> None:
    _check(alert["expr"], metrics)


@alerts
def test_an_alert_says_what_it_is_and_leads_to_what_to_do(alert: Object) -> None:
    said = alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[ms]", alert["for"])
    assert len(said["summary"]) <= 80
    assert len(said["description"]) > 20
    page, _, anchor = said["runbook_url"].partition("#")
    assert page == "docs/operations.md"
    headings = re.findall(r"^### (\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]


@alerts
def test_what_an_alert_tells_of_is_kept_by_its_query(alert: Object) -> None:
    told = set(re.findall(r"\$labels\.(\w+)", "".join(alert["annotations"].values())))
    assert told <= grouped_by(alert["expr"])


def test_operations_speaks_of_these_alerts_and_no_others() -> None:
    headings = re.findall(r"^### (Chatbot\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        severity = str(alert["labels"]["severity"]).capitalize()
        assert f"### {alert['alert']}\n\n{severity}. " in OPERATIONS.read_text()


def test_alerts_can_be_left_out_and_point_elsewhere() -> None:
    rules = {"disabled": ["ChatbotAnswersSlow"], "runbookUrl": "https://docs.example.com/ops", "labels": {"x": "y"}}
    made = release(merged(WATCHED, {"monitoring": {"rules": rules}})).one("PrometheusRule")
    names = [rule["alert"] for rule in made["spec"]["groups"][0]["rules"]]
    assert names == [alert["alert"] for alert in ALERTS if alert["alert"] != "ChatbotAnswersSlow"]
    url = made["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"]
    assert url == "https://docs.example.com/ops#chatbotchatmissing"
    assert made["metadata"]["labels"]["x"] == "y"


def test_alerts_lead_nowhere_until_it_is_said_where() -> None:
    made = release(WATCHED).one("PrometheusRule")
    assert all("runbook_url" not in rule["annotations"] for rule in made["spec"]["groups"][0]["rules"])


def test_alerts_know_the_limits_of_the_release() -> None:
    values = merged(
        WATCHED,
        {
            "limits": {"leaseSeconds": 60},
            "chat": {"outbox": {"maxMiB": 100}},
            "monitoring": {"rules": {"slowSeconds": 2.5, "undeliveredSeconds": 90, "disabled": []}},
        },
    )
    rules = {rule["alert"]: rule for rule in release(values).one("PrometheusRule")["spec"]["groups"][0]["rules"]}
    assert rules["ChatbotLimitsLearning"]["for"] == "240s"
    assert rules["ChatbotOutboxFilling"]["expr"].endswith(f"> {100 * 2**20 * 4 // 5}")
    assert rules["ChatbotAnswersSlow"]["expr"].endswith("> 2.5")
    assert rules["ChatbotOutboxOld"]["expr"].endswith("> 90")


def test_pods_are_told_apart_by_what_prometheus_knows() -> None:
    assert SELECTOR in ALERTS[0]["expr"]
    own = release(merged(WATCHED, {"monitoring": {"selector": 'namespace="a",pod=~"b.*"'}})).one("PrometheusRule")
    assert 'chatbot_connections_open{namespace="a",pod=~"b.*"}' in own["spec"]["groups"][0]["rules"][0]["expr"]


@pytest.mark.parametrize("part", ["chat", "history"])
def test_the_pods_of_a_release_have_the_names_that_are_looked_for(part: str) -> None:
    name = release(LEAST).workload(part)["metadata"]["name"]
    (pattern,) = re.findall(r'pod=~"([^"]+)"', SELECTOR)
    assert re.fullmatch(pattern, f"{name}-7c9d8b5f4-x2x7k")
    assert re.fullmatch(pattern, f"{name}-0")


def test_keda_asks_for_connections() -> None:
    values = merged(SWITCHES["scaled by connections"], {"chat": {"autoscaling": {"connectionsPerPod": 40}}})
    scaled = release(values).one("ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]
    assert scaled["fallback"] == {"failureThreshold": 5, "replicas": 10, "behavior": "currentReplicas"}
    assert (
        trigger["metadata"]["ignoreNullValues"] == "false"
    )  # else it scales to the least while Prometheus has no data
    assert trigger["metadata"]["query"] == f"sum(chatbot_connections_open{{{SELECTOR}}})"
    assert trigger["metadata"]["threshold"] == "40"
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"
    assert asked_for(trigger["metadata"]["query"]).keys() == {"chatbot_connections_open"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_what_there_is(panel: Object, metrics: set[str]) -> None:
    if panel["type"] == "row":
        return
    assert panel["targets"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        query = _plain(target["expr"])
        _check(query, metrics)
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= grouped_by(query)


@dashboards
def test_a_dashboard_is_whole(dashboard: Object) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        place = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not place & taken
        assert max(x for x, _ in place) < 24
        taken |= place
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
    assert used == variables.keys()
    assert variables["datasource"]["type"] == "datasource"


def test_dashboards_cover_what_operators_are_told_of(metrics: set[str]) -> None:
    shown: set[str] = set()
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                shown |= asked_for(_plain(target["expr"])).keys()
    unseen = ("_sum", "_count", "_created")
    ours = {name for name in metrics if name.startswith("chatbot_") and not name.endswith(unseen)}
    assert ours - shown == set()


def test_dashboards_are_where_grafana_looks() -> None:
    configs = [one for one in release(WATCHED).all("ConfigMap") if "dashboard" in one["metadata"]["name"]]
    assert len(configs) == len(DASHBOARDS)
    for config in configs:
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert config["metadata"]["annotations"] == {"grafana_folder": "Chatbot"}
        ((_, held),) = config["data"].items()
        shown = json.loads(held)
        assert shown["panels"] in [dashboard["panels"] for dashboard in DASHBOARDS.values()]
        assert shown["title"].endswith(f" of {NAMESPACE}/{NAME}")


def _uids(name: str, namespace: str) -> set[str]:
    made = chart().render(WATCHED, name=name, namespace=namespace)
    (page,) = (text for path, text in made.items() if path.endswith("dashboards.yaml"))
    configs = [config for config in yaml.safe_load_all(page) if config]
    return {json.loads(held)["uid"] for config in configs for held in config["data"].values()}


def test_dashboards_of_two_releases_are_apart_and_those_of_one_stay() -> None:
    """Grafana refuses to provision two dashboards of one uid, and keeps it at 40 characters."""
    releases = [("talk", "rooms"), ("talk", "halls"), ("chat", "rooms")]
    uids = [_uids(name, namespace) for name, namespace in releases]
    assert len(set().union(*uids)) == len(releases) * len(DASHBOARDS)
    assert all(len(uid) <= 40 for uid in set().union(*uids))
    assert _uids("talk", "rooms") == uids[0]


def test_alerts_count_pods_where_there_are_several() -> None:
    def least(**chat: Any) -> list[str]:
        made = release(merged(WATCHED, {"chat": chat, "history": {"replicas": 1}})).one("PrometheusRule")
        return re.findall(r"^count\(chatbot_\w+{.*}\) < (\d+)$", "\n".join(_queries(made)), re.MULTILINE)

    assert least(replicas=6) == ["6"]
    assert least(replicas=1) == []
    assert least(replicas=None) == []
    assert least(replicas=6, autoscaling={"mode": "cpu", "minReplicas": 4}) == ["4"]


def _queries(rules: Object) -> list[str]:
    return [rule["expr"] for rule in rules["spec"]["groups"][0]["rules"]]


@alerts
def test_what_an_alert_counts_is_there_before_it_happens_first(alert: Object, page: str) -> None:
    """A counter that appears with its first event has not risen, and no alert fires."""
    there = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    for one in selectors(nodes(alert["expr"])):
        if not str(one.name).endswith("_total"):
            continue
        asked = {m.name: m.value for m in one.matchers.matchers if m.name not in OF_KUBERNETES}
        for values in product(*(value.split("|") for value in asked.values())):
            labels_of = dict(zip(asked, values, strict=True)).items()
            assert any(sample.name == one.name and labels_of <= sample.labels.items() for sample in there), one.name
        assert any(sample.name == one.name for sample in there), one.name


@pytest.mark.parametrize(("name", "kind"), [("watched by service", "ServiceMonitor"), ("watched by pod", "PodMonitor")])
def test_scraping_finds_the_metrics_of_both_services(name: str, kind: str) -> None:
    made = release(SWITCHES[name])
    monitor: dict[str, Any] = made.one(kind)["spec"]
    (endpoint,) = monitor.get("endpoints") or monitor["podMetricsEndpoints"]
    (expression,) = monitor["selector"]["matchExpressions"]
    candidates = [
        (one["metadata"]["labels"], {port["name"] for port in one["spec"]["ports"]}) for one in made.all("Service")
    ]
    if kind == "PodMonitor":
        candidates = [
            (
                template["metadata"]["labels"],
                {port["name"] for one in template["spec"]["containers"] for port in one["ports"]},
            )
            for template in (workload["spec"]["template"] for workload in made.workloads())
        ]
    scraped = [
        found[expression["key"]]
        for found, ports in candidates
        if monitor["selector"]["matchLabels"].items() <= found.items()
        and found.get(expression["key"]) in expression["values"]
        and endpoint["port"] in ports
    ]
    assert sorted(scraped) == ["chat", "history"]
    assert (endpoint["path"], endpoint["interval"]) == ("/metrics", "15s")


def test_only_one_of_them_scrapes() -> None:
    assert {"ServiceMonitor", "PodMonitor"} & release(LEAST).kinds() == set()
    assert len({"ServiceMonitor", "PodMonitor"} & release(WATCHED).kinds()) == 1
