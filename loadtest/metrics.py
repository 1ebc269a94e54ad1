"""The metrics that reports and dashboards read, by their names in the services."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from socket import SOCK_STREAM
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 2.0


class Metric(StrEnum):
    """A metric of one pod. What has labels is summed over them."""

    CONNECTIONS_OPEN = "chatbot_connections_open"
    CONNECTIONS_CLOSED = "chatbot_connections_closed_total"
    CONNECTIONS_DENIED = "chatbot_connections_denied_total"
    MESSAGES_IN_PROCESS = "chatbot_messages_in_process"
    MESSAGES_ANSWERED = "chatbot_messages_answered_total"
    MESSAGES_REFUSED = "chatbot_messages_refused_total"
    OUTBOX_RECORDS = "chatbot_outbox_records"
    OUTBOX_OLDEST_SECONDS = "chatbot_outbox_oldest_seconds"
    OUTBOX_REFUSED = "chatbot_outbox_refused"
    DELIVERY_RETRIES = "chatbot_delivery_retries_total"
    HISTORY_EXCHANGES = "chatbot_history_exchanges_total"
    CPU_SECONDS = "process_cpu_seconds_total"
    MEMORY_BYTES = "process_resident_memory_bytes"


WANTED = frozenset(Metric)


def read_exposition(text: str) -> dict[str, float]:
    """Return our metrics from a metrics page."""
    figures: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in WANTED:
                figures[sample.name] += sample.value
    return dict(figures)


async def scrape(http: aiohttp.ClientSession, pages: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the metrics of each pod that answers, scraped concurrently.

    Args:
        http: asks.
        pages: the metrics page of each pod by its name. A host with several addresses, such as a headless service of
            Kubernetes, stands for a pod at each of them; the address is then part of the name.
    """
    pods = await resolve(pages)

    async def one(address: str) -> dict[str, float] | None:
        try:
            async with asyncio.timeout(SCRAPE_SECONDS), http.get(address) as answer:
                return read_exposition(await answer.text())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    answers = await asyncio.gather(*(one(address) for address in pods.values()))
    return {pod: figures for pod, figures in zip(pods, answers, strict=True) if figures is not None}


async def resolve(pages: Mapping[str, str]) -> dict[str, str]:
    """Put an address in place of each host that has several of one family; what cannot be resolved stays as it is."""
    loop = asyncio.get_running_loop()
    found: dict[str, str] = {}
    for name, page in pages.items():
        parts = urlsplit(page)
        try:
            answers = await loop.getaddrinfo(parts.hostname, parts.port, type=SOCK_STREAM)
        except OSError:  # not resolvable at the moment
            answers = []
        hosts = sorted({str(where[0]) for family, *_, where in answers if family == answers[0][0]})
        if len(hosts) <= 1:
            found[name] = page
            continue
        for host in hosts:
            literal = f"[{host}]" if ":" in host else host
            found[f"{name}-{host}"] = urlunsplit(parts._replace(netloc=f"{literal}:{parts.port or 80}"))
    return found
