"""Metrics on a port of their own."""

import aiohttp
import pytest
from prometheus_client import REGISTRY, Counter

from servicekit.metrics import metrics_app, new_registry
from tests.servicekit.conftest import Serving


async def test_metrics_of_ours_and_of_the_process_are_served(serving: Serving, http: aiohttp.ClientSession) -> None:
    registry = new_registry()
    Counter("tea_cups", "Cups of tea.", ["kind"], registry=registry).labels("green").inc(3)
    async with serving(metrics_app(registry)) as url, http.get(f"{url}/metrics") as response:
        page = await response.text()
        assert (response.status, response.content_type) == (200, "text/plain")
    assert 'tea_cups_total{kind="green"} 3.0' in page.splitlines()
    assert "# HELP tea_cups_total Cups of tea." in page
    assert "process_resident_memory_bytes" in page
    assert "python_gc_collections_total" in page


async def test_a_scraper_gets_the_format_it_asks_for(serving: Serving, http: aiohttp.ClientSession) -> None:
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with serving(metrics_app(new_registry())) as url, http.get(f"{url}/metrics", headers=asked) as response:
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/metrics/", 404, "not_found"),
        ("GET", "/healthz", 404, "not_found"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("DELETE", "/metrics", 405, "method_not_allowed"),
    ],
)
async def test_there_is_nothing_else(
    serving: Serving, http: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    async with serving(metrics_app(new_registry())) as url, http.request(method, url + path) as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")
        assert (await response.json(content_type=None))["code"] == code
        assert response.headers.get("allow") == ("GET, HEAD" if status == 405 else None)


async def test_head_tells_that_metrics_are_there(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with serving(metrics_app(new_registry())) as url, http.head(f"{url}/metrics") as response:
        assert (response.status, await response.read()) == (200, b"")


def test_registries_share_nothing_with_each_other_or_with_the_global_one() -> None:
    first, second = new_registry(), new_registry()
    Counter("tea_cups", "Cups of tea.", registry=first).inc()
    Counter("tea_cups", "Cups of tea.", registry=second)
    assert (first.get_sample_value("tea_cups_total"), second.get_sample_value("tea_cups_total")) == (1.0, 0.0)
    assert REGISTRY.get_sample_value("tea_cups_total") is None
