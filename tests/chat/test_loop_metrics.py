"""Our counters and histograms show what those of prometheus_client do."""

import re
from collections.abc import Callable

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from chat_service.loop_metrics import Counter, Histogram

BOUNDS = (0.005, 0.1, 1.0, 30.0)
VALUES = (0.0, 0.004, 0.005, 0.0051, 0.1, 0.99, 30.0, 31.0, 1e9)
CREATED = re.compile(rb"^(\w+_created(?:\{.*\})?) .*$", re.MULTILINE)


def theirs() -> CollectorRegistry:
    registry = CollectorRegistry()
    plain = prometheus_client.Counter("texts", "Texts.", namespace="chatbot", registry=registry)
    labelled = prometheus_client.Counter("replies", "Replies.", ["bot", "how"], namespace="chatbot", registry=registry)
    plain_seconds = prometheus_client.Histogram(
        "wait_seconds", "Waited.", namespace="chatbot", buckets=BOUNDS, registry=registry
    )
    seconds = prometheus_client.Histogram(
        "seconds", "Took.", ["bot"], namespace="chatbot", buckets=BOUNDS, registry=registry
    )
    plain.inc()
    plain.inc(2.5)
    labelled.labels("a", "born at zero")
    labelled.labels('b "\n', "counted").inc(3)
    seconds.labels("born at zero")
    for value in VALUES:
        plain_seconds.observe(value)
        seconds.labels("observed").observe(value)
    return registry


def ours() -> CollectorRegistry:
    registry = CollectorRegistry()
    plain = Counter("texts", "Texts.", registry=registry).labels()
    labelled = Counter("replies", "Replies.", ["bot", "how"], registry=registry)
    plain_seconds = Histogram("wait_seconds", "Waited.", bounds=BOUNDS, registry=registry).labels()
    seconds = Histogram("seconds", "Took.", ["bot"], bounds=BOUNDS, registry=registry)
    plain.inc()
    plain.inc(2.5)
    labelled.labels("a", "born at zero")
    labelled.labels('b "\n', "counted").inc(3)
    seconds.labels("born at zero")
    for value in VALUES:
        plain_seconds.observe(value)
        seconds.labels("observed").observe(value)
    return registry


@pytest.mark.parametrize("expose", [generate_latest, generate_openmetrics])
def test_a_scrape_shows_what_those_of_prometheus_client_show(expose: Callable[[CollectorRegistry], bytes]) -> None:
    """Moments of creation differ, and are there for each."""
    expected, shown = (CREATED.sub(rb"\1 then", expose(registry)) for registry in (theirs(), ours()))
    assert b"_created" in shown
    assert shown == expected


def test_one_without_labels_is_shown_at_zero_from_the_start() -> None:
    registry = CollectorRegistry()
    Counter("texts", "Texts.", registry=registry)
    Histogram("seconds", "Took.", bounds=BOUNDS, registry=registry)
    assert registry.get_sample_value("chatbot_texts_total") == 0
    assert registry.get_sample_value("chatbot_seconds_count") == 0


def test_labels_must_be_as_many_as_there_are_names() -> None:
    counter = Counter("replies", "Replies.", ["bot", "how"], registry=CollectorRegistry())
    with pytest.raises(ValueError, match=r"chatbot_replies has the labels"):
        counter.labels("a")


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Counter("texts", "Texts.", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Counter("texts", "Texts.", registry=registry)
