"""The metrics that the services really have, and those that a query asks for."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import promql_parser
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp

from chat_service.app import open_chat
from chat_service.metrics import ChatMetrics
from chat_service.settings import ChatSettings
from history_service.app import open_history
from history_service.metrics import HistoryMetrics
from history_service.settings import HistorySettings
from servicekit.tokens import mint

OF_KUBERNETES = frozenset({"namespace", "pod"})  # labels that Prometheus adds
TOKEN = mint("a secret of at least thirty-two bytes", subject="chat", audience="chatbot", lifetime=timedelta(days=1))
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}


def exported(folder: Path) -> str:
    """Open a pod of each service and return all that they show to Prometheus."""

    async def read() -> str:
        chat = ChatSettings.model_validate({"data_dir": folder / "chat", "media_processes": 1, "history_token": TOKEN})
        history = HistorySettings.model_validate({"data_dir": folder / "history"})
        async with open_chat(chat) as one, open_history(history) as other:
            return await _page(one.metrics_app) + await _page(other.metrics_app)

    return asyncio.run(read())


async def _page(app: ASGIApp) -> str:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://pod") as client:
        return (await client.get("/metrics")).text


def names(page: str) -> set[str]:
    """Return the names of all metrics of a page."""
    return {
        family.name.removesuffix("_total") + suffix
        for family in text_string_to_metric_families(page)
        for suffix in SUFFIXES.get(family.type, [""])
    }


def labels(name: str) -> frozenset[str]:
    """Return the labels of one of our metrics; those of a bucket have `le` as well."""
    for registry in (ChatMetrics().registry, HistoryMetrics().registry):
        collector = _collector(registry, name)
        if collector is not None:
            more = {"le"} if name.endswith("_bucket") else set()
            return frozenset({*getattr(collector, "_labelnames", ()), *more}) | OF_KUBERNETES
    return OF_KUBERNETES  # figures that are watched have none


def _collector(registry: CollectorRegistry, name: str) -> object | None:
    return registry._names_to_collectors.get(name)


def nodes(query: str) -> list[promql_parser.Expr]:
    """Return all parts of a query.

    Raises:
        ValueError: it is no PromQL.
    """
    found: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(query), found.append)
    return found


def selectors(parts: Iterable[promql_parser.Expr]) -> Iterator[promql_parser.VectorSelector]:
    """Yield what a query reads."""
    for part in parts:
        if isinstance(part, promql_parser.VectorSelector):
            yield part
        elif isinstance(part, promql_parser.MatrixSelector):
            yield part.vector_selector


def asked_for(query: str) -> dict[str, set[str]]:
    """Return the metrics that a query reads, each with the labels it is filtered by."""
    return {str(one.name): {matcher.name for matcher in one.matchers.matchers} for one in selectors(nodes(query))}


def grouped_by(query: str) -> set[str]:
    """Return the labels that a query keeps."""
    return {
        label
        for one in nodes(query)
        if isinstance(one, promql_parser.AggregateExpr) and one.modifier is not None
        for label in one.modifier.labels
    }
