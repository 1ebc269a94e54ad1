"""Values that are empty: null, a key without a value in YAML, and lists without an item.

Helm takes null for "remove the default". A value whose default is empty may be null, which is the default; every other
value that is null is refused, because nobody can mean it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from tests.charts.cases import LEAST, PEER
from tests.charts.release import CHARTS, CHATBOT, Release, merged, release, values_file

OF_KUBERNETES = re.compile(r"(resources|behavior|dashboards\.labels)\.")
"""Within these stands what is handed on as it is."""

WAYS_IN = {
    "ingress": {"enabled": True, "host": "chat.example.com"},
    "gateway": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["chat.example.com"]},
}
MUCH: dict[str, Any] = merged(
    LEAST,
    WAYS_IN,
    {
        "networkPolicy": {"clients": [PEER], "monitoring": [PEER], "dns": [PEER], "redis": {"to": [PEER]}},
        "monitoring": {
            "scrape": {"mode": "pod"},
            "rules": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "caBundle": {"configMap": "authorities"},
        "chat": {"outbox": {"persistence": {"enabled": True}}, "botScript": 'name = "Ada"\n'},
    },
)
SCALED: dict[str, Any] = merged(
    LEAST,
    {
        "chat": {"autoscaling": {"mode": "connections", "prometheusUrl": "http://prometheus:9090"}},
        "history": {"autoscaling": {"mode": "cpu"}},
    },
)
REFUSED = re.compile(r"at '/|The values do not work yet")
"""What a refusal says, and a template that fails does not."""

SWARM: dict[str, Any] = {
    "target": {"chat": "ws://chat:8000", "history": "http://history:8001", "redis": {"url": "redis://valkey:6379/0"}}
}
BASES: dict[str, tuple[Path, dict[str, Any]]] = {
    "least": (CHATBOT, LEAST),
    "much": (CHATBOT, MUCH),
    "scaled": (CHATBOT, SCALED),
    "swarm": (CHARTS / "loadtest", SWARM),
}
"""A chart, and values that work for it."""


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def _of(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def _at(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _without(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    kept = {name: value for name, value in values.items() if name != key}
    if rest and isinstance(values.get(key), Mapping):
        kept[key] = _without(values[key], rest)
    return kept


def outcome(values: Mapping[str, Any], path: Path = CHATBOT) -> Release | str:
    """Return what is made of values, or the sentence by which they are refused."""
    try:
        return release(values, path)
    except (helm.HelmRenderError, helm.HelmValuesError) as exc:
        return str(exc)


def _cases(*bases: str) -> Iterator[Any]:
    """Yield each value with each of these bases: the values of the base, the path of the value and its default."""
    for name in bases:
        path, values = BASES[name]
        defaults = values_file(path / "values.yaml")
        for key in _paths(defaults):
            if not OF_KUBERNETES.search(key):
                yield pytest.param(path, values, key, _of(defaults, key), id=f"{name}-{key}")


def _may_be_null(case: Any) -> bool:
    _, _, key, default = case.values
    return key.endswith(".replicas") or default in ("", [], {}, None)


CASES = [*_cases(*BASES)]


# The schema refuses them before a template sees any value, so one base of each chart tells.
@pytest.mark.parametrize(
    ("path", "base", "key", "default"), [case for case in _cases("least", "swarm") if not _may_be_null(case)]
)
def test_null_is_refused_where_there_is_a_default(path: Path, base: dict[str, Any], key: str, default: object) -> None:
    assert default is not None
    assert f"missing property '{key.rpartition('.')[2]}'" in str(outcome(merged(base, _at(key, None)), path))


@pytest.mark.parametrize(("path", "base", "key", "default"), [case for case in CASES if _may_be_null(case)])
def test_null_is_the_default_where_that_is_empty(path: Path, base: dict[str, Any], key: str, default: object) -> None:
    made = outcome(merged(base, _at(key, None)), path)
    if default:  # a number of pods, which the last test looks at
        assert isinstance(made, Release)
        return
    without = outcome(_without(base, key), path)
    assert made == without or (REFUSED.search(str(made)) and REFUSED.search(str(without)))


@pytest.mark.parametrize(
    ("path", "base", "key", "default"), [case for case in CASES if isinstance(case.values[3], list)]
)
def test_an_empty_list_opens_nothing(path: Path, base: dict[str, Any], key: str, default: list[object]) -> None:
    assert isinstance(default, list)
    made = outcome(merged(base, _at(key, [])), path)
    if isinstance(made, str):
        assert REFUSED.search(made)
        return
    for route in made.all("HTTPRoute"):
        assert route["spec"]["hostnames"]
        assert route["spec"]["parentRefs"]
        assert all(rule["matches"] for rule in route["spec"]["rules"])
    for ingress in made.all("Ingress"):
        assert all(rule["http"]["paths"] for rule in ingress["spec"]["rules"])


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("part", ["chat", "history"])
def test_a_part_without_public_paths_is_not_reached_from_outside(way: str, part: str) -> None:
    made = release(merged(LEAST, {way: WAYS_IN[way], "publicPaths": {part: []}}))
    reached = json.dumps(made.all("HTTPRoute") + made.all("Ingress"))
    other = {"chat": "history", "history": "chat"}[part]
    assert f'"talk-chatbot-{part}"' not in reached
    assert f'"talk-chatbot-{other}"' in reached


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_way_in_without_any_path_is_refused(way: str) -> None:
    made = outcome(merged(LEAST, {way: WAYS_IN[way], "publicPaths": {"chat": [], "history": []}}))
    assert f"publicPaths is empty, and {way}.enabled is true" in str(made)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/exchanges", "/v1/exchanges/", "/v1/exchanges/x"])
def test_ingest_is_never_routed_from_outside(path: str) -> None:
    made = outcome(merged(LEAST, WAYS_IN, {"publicPaths": {"history": ["/v1/sessions", path]}}))
    assert f"publicPaths.history holds {path}, which would let POST /v1/exchanges in from outside" in str(made)


@pytest.mark.parametrize("path", ["v1", "//v1", "/v1//exchanges", "/v1/./exchanges", "/v1/../v1", "/v1/%65xchanges"])
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    assert "at '/publicPaths/history/0'" in str(outcome(merged(LEAST, {"publicPaths": {"history": [path]}})))


@pytest.mark.parametrize("part", ["chat", "history"])
def test_a_number_of_pods_that_is_null_is_left_to_others(part: str) -> None:
    made = release(merged(LEAST, {part: {"replicas": None}}))
    assert "replicas" not in made.workload(part)["spec"]
    assert release(merged(LEAST, {part: {"replicas": 0}})).workload(part)["spec"]["replicas"] == 0
