"""Reports read metrics by names that the services really have, and that the dashboards of the chart have, too."""

import json
from pathlib import Path

import aiohttp
import httpx2

from chat_service.app import open_chat
from chat_service.settings import ChatSettings
from devtools.servers import ROOT
from history_service.metrics import HistoryMetrics
from loadtest.metrics import Metric, read_exposition, resolve, scrape
from tests.charts.metrics import asked_for

DASHBOARDS = sorted((ROOT / "charts/chatbot/dashboards").glob("*.json"))


async def test_every_metric_is_exposed_by_a_pod(tmp_path: Path) -> None:
    settings = ChatSettings.model_validate({"data_dir": tmp_path, "media_processes": 1})
    history = HistoryMetrics()
    pages = []
    async with open_chat(settings) as chat:
        for app in (chat.metrics_app, history.app()):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://pod") as http:
                pages.append((await http.get("/metrics")).text)
    declared = {line.split()[2] for page in pages for line in page.splitlines() if line.startswith("# TYPE")}
    assert {metric for metric in Metric if metric not in declared} == set()


def test_the_dashboards_show_every_metric_that_the_report_reads() -> None:
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    shown = {name for query in queries for name in asked_for(query.replace("$__rate_interval", "1m"))}
    assert set(Metric) - shown == set()


def test_what_has_labels_is_summed() -> None:
    text = (
        "# TYPE chatbot_messages_in_process gauge\n"
        'chatbot_messages_in_process{kind="text"} 3\nchatbot_messages_in_process{kind="voice"} 4\n'
        "# TYPE other gauge\nother 5\n"
    )
    assert read_exposition(text) == {Metric.MESSAGES_IN_PROCESS: 7}


async def test_a_host_with_one_address_or_none_stays_as_it_is() -> None:
    pages = {"chat": "http://127.0.0.1:9000/metrics", "gone": "http://nobody.invalid:9000/metrics"}
    assert await resolve(pages) == pages


async def test_a_pod_that_does_not_answer_is_left_out() -> None:
    async with aiohttp.ClientSession() as http:
        assert await scrape(http, {"gone": "http://127.0.0.1:9/metrics"}) == {}
