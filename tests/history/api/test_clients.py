"""All of a client as lines."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from history_service.api.clients import EXPORT_PAGE
from history_service.stores.base import StoreUnavailable
from tests.history.pod import Pod, check_problem, rich_exchange
from tests.support.exchanges import MORNING, SESSION, exchange

OTHER = UUID("0197b0c8-0000-7000-8000-00000000000b")
PATH = "/v1/clients/anna/export"
COUNT = 2 * EXPORT_PAGE + 3


async def test_an_export_holds_everything_once_and_nothing_of_others(pod: Pod) -> None:
    exchanges = [exchange(f"zwölf {n}", at=MORNING + timedelta(seconds=n)) for n in range(COUNT)]
    later = rich_exchange(session_id=OTHER, at=MORNING + timedelta(days=1))
    await pod.ingest(*exchanges, later, exchange(client_id="ben"))
    await pod.http.delete(f"/v1/messages/{exchanges[1].id}.request")
    answer = await pod.http.get(PATH)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["type"] for line in lines[:4]] == ["session", "message", "message", "session"]
    assert lines[-1] == {"type": "end", "sessions": 2, "messages": 2 * COUNT + 1}
    assert [line["id"] for line in lines if line["type"] == "session"] == [str(OTHER), str(SESSION)]
    ids = [line["id"] for line in lines if line["type"] == "message"]
    expected = [f"{each.id}.{side}" for each in [later, *exchanges] for side in ("request", "reply")]
    expected.remove(f"{exchanges[1].id}.request")
    assert ids == expected
    shown = await pod.json(f"/v1/messages/{exchanges[5].id}.reply")
    assert {"type": "message", **shown} in lines


async def test_of_a_client_without_anything_only_the_end_comes(pod: Pod) -> None:
    assert (await pod.http.get(PATH)).text == '{"type": "end", "sessions": 0, "messages": 0}\n'
    head = await pod.http.head(PATH)
    assert (head.status_code, head.content) == (200, b"")


async def test_a_store_that_fails_is_told_of_before_the_answer_begins(pod: Pod) -> None:
    pod.store.failure = StoreUnavailable
    check_problem(await pod.http.get(PATH), 503, "store_unavailable")


async def test_a_store_that_fails_on_the_way_leaves_no_end(pod: Pod) -> None:
    await pod.ingest(exchange())
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        pod.store.failure = StoreUnavailable

    scope = {"type": "http", "method": "GET", "path": PATH, "query_string": b"", "headers": []}
    await pod.history.app(scope, _never, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    assert not any(message.get("more_body") is False for message in sent)


async def test_no_more_is_read_than_the_reader_takes(pod: Pod) -> None:
    await pod.ingest(*(exchange(str(n), at=MORNING + timedelta(seconds=n)) for n in range(COUNT)))
    pages = 0
    real = pod.store.exchanges.page

    async def counted(*given: Any, **more: Any) -> Any:
        nonlocal pages
        pages += 1
        return await real(*given, **more)

    pod.store.exchanges.page = counted
    stalled, sent = asyncio.Event(), 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1
        if sent == 20:
            stalled.set()
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": PATH, "query_string": b"", "headers": []}
    exporting: asyncio.Task[None] = asyncio.create_task(pod.history.app(scope, _never, send))  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        await stalled.wait()
    assert pages == 1
    exporting.cancel()
    await asyncio.wait([exporting])


async def _never() -> Any:
    await asyncio.Event().wait()
