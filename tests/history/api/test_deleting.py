"""Making, renaming and deleting over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from history_service.blobs.base import BlobsUnavailable
from servicekit.clock import utc_now
from tests.history.pod import Pod, check_problem, rich_exchange
from tests.support.exchanges import SESSION, exchange

OTHER = UUID("0197b0c8-0000-7000-8000-00000000000b")
SESSION_PATH = f"/v1/sessions/{SESSION}"
SESSIONS_PATH = "/v1/clients/anna/sessions"


async def send(pod: Pod, method: str, path: str, body: object) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await pod.http.request(method, path, content=content, headers={"content-type": "application/json"})


async def gone(pod: Pod, method: str, path: str) -> None:
    answer = await pod.http.request(method, path)
    assert (answer.status_code, answer.content) == (204, b"")


def after() -> datetime:
    return utc_now() + timedelta(minutes=1)


async def test_a_session_is_made_and_then_used(pod: Pod) -> None:
    answer = await send(pod, "POST", SESSIONS_PATH, {"time_zone": "Asia/Tokyo", "title": "Straße 🎉"})
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/sessions/{made['id']}"
    assert (made["title"], made["time_zone"], made["client_id"]) == ("Straße 🎉", "Asia/Tokyo", "anna")
    assert (made["message_count"], made["last_message_at"]) == (0, None)
    assert await pod.json(answer.headers["location"]) == made
    await pod.ingest(exchange(session_id=UUID(made["id"]), at=datetime(2026, 3, 1, tzinfo=UTC)))
    assert (await pod.json(answer.headers["location"]))["message_count"] == 2


async def test_a_session_may_be_made_of_nothing(pod: Pod) -> None:
    made = (await send(pod, "POST", SESSIONS_PATH, {})).json()
    assert (made["title"], made["time_zone"]) == (None, "UTC")


async def test_a_title_is_given_changed_and_taken_away(pod: Pod) -> None:
    await pod.ingest(exchange())
    for title in ("first", "x" * 200, None):
        answer = await send(pod, "PATCH", SESSION_PATH, {"title": title})
        assert (answer.status_code, answer.json()["title"]) == (200, title)
        assert await pod.json(SESSION_PATH) == answer.json()
    await send(pod, "PATCH", SESSION_PATH, {"title": "kept"})
    assert (await send(pod, "PATCH", SESSION_PATH, {})).json()["title"] == "kept"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "body_unreadable", id="nothing"),
        pytest.param(b"{", "body_unreadable", id="no JSON"),
        pytest.param(b'{"title": "\xff"}', "body_unreadable", id="no UTF-8"),
        pytest.param(b"[" * 9000, "body_unreadable", id="nested deeply"),
        pytest.param([], "body_unreadable", id="no object"),
        pytest.param({"name": "x"}, "body_invalid", id="another member"),
        pytest.param({"title": ""}, "title_malformed", id="empty"),
        pytest.param({"title": 5}, "title_malformed", id="no text"),
        pytest.param({"title": "x" * 201}, "title_malformed", id="too long"),
        pytest.param({"title": "a\nb"}, "title_malformed", id="two lines"),
        pytest.param(b'{"title": "\\ud800"}', "title_malformed", id="half a character"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("PATCH", SESSION_PATH), ("POST", SESSIONS_PATH)])
async def test_what_is_no_title(pod: Pod, method: str, path: str, body: object, code: str) -> None:
    await pod.ingest(exchange())
    check_problem(await send(pod, method, path, body), 400, code)
    assert (await pod.json(SESSION_PATH))["title"] is None


async def test_other_bodies_are_refused(pod: Pod) -> None:
    await pod.ingest(exchange())
    check_problem(await pod.http.patch(SESSION_PATH, content=b"{}"), 415, "content_type_unsupported")
    check_problem(await send(pod, "PATCH", SESSION_PATH, b" " * 20_000), 413, "body_too_large")
    for zone in ("", "a b", 5, "x" * 65):
        check_problem(await send(pod, "POST", SESSIONS_PATH, {"time_zone": zone}), 400, "time_zone_malformed")


async def test_a_deleted_message_takes_its_media_along_and_leaves_the_other(pod: Pod) -> None:
    kept = rich_exchange()
    await pod.ingest(kept)
    await gone(pod, "DELETE", f"/v1/messages/{kept.id}.reply")
    check_problem(await pod.http.get(f"/v1/messages/{kept.id}.reply"), 404, "message_unknown")
    check_problem(await pod.http.delete(f"/v1/messages/{kept.id}.reply"), 404, "message_unknown")
    check_problem(await pod.http.get(f"/v1/messages/{kept.id}.reply/media/image"), 404, "message_unknown")
    assert set(pod.files()) == {f"anna/{SESSION}/{kept.id}/request.mp4"}
    page = await pod.json(f"{SESSION_PATH}/messages")
    assert [message["direction"] for message in page["messages"]] == ["request"]
    await gone(pod, "DELETE", f"/v1/messages/{kept.id}.request")
    assert (await pod.json(f"{SESSION_PATH}/messages"))["messages"] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_are_whole_however_much_was_deleted(pod: Pod, limit: int) -> None:
    exchanges = [exchange(str(number), at=datetime(2026, 3, 1, 9, number, tzinfo=UTC)) for number in range(9)]
    await pod.ingest(*exchanges)
    expected = []
    for number, each in enumerate(exchanges):
        keep = ("request", "reply") if number % 3 == 0 else ("reply",) if number % 3 == 1 else ()
        for direction in ("request", "reply"):
            if direction in keep:
                expected.append(f"{each.id}.{direction}")
            else:
                await gone(pod, "DELETE", f"/v1/messages/{each.id}.{direction}")
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await pod.json(f"{SESSION_PATH}/messages", limit=limit, **cursor)
        assert page["before"] is None or len(page["messages"]) == limit
        seen[:0] = [message["id"] for message in page["messages"]]
        if page["before"] is None:
            break
        cursor = {"before": page["before"]}
    assert seen == expected
    assert (await pod.json(SESSION_PATH))["message_count"] == len(expected)


async def test_a_deleted_session_is_gone_with_all_that_belongs_to_it(pod: Pod) -> None:
    kept, other = rich_exchange(), rich_exchange(session_id=OTHER)
    await pod.ingest(kept, other)
    await gone(pod, "DELETE", SESSION_PATH)
    check_problem(await pod.http.get(SESSION_PATH), 404, "session_unknown")
    check_problem(await pod.http.delete(SESSION_PATH), 404, "session_unknown")
    check_problem(await pod.http.get(f"{SESSION_PATH}/messages"), 404, "session_unknown")
    check_problem(await pod.http.get(f"/v1/messages/{kept.id}.reply"), 404, "message_unknown")
    assert {key.split("/")[1] for key in pod.files()} == {str(OTHER)}
    assert [one["id"] for one in (await pod.json(SESSIONS_PATH))["sessions"]] == [str(OTHER)]


async def test_late_deliveries_bring_no_session_and_no_media_back(pod: Pod) -> None:
    kept, new = rich_exchange(), rich_exchange(at=after())
    await pod.ingest(kept)
    await gone(pod, "DELETE", SESSION_PATH)
    assert await pod.ingest(kept, new, kept) == ["erased", "stored", "erased"]
    assert {key.split("/")[2] for key in pod.files()} == {str(new.id)}
    assert (await pod.json(SESSION_PATH))["message_count"] == 2
    assert await pod.metric('chatbot_history_exchanges_total{outcome="erased"}') == 2


async def test_an_erased_client_leaves_nothing_and_others_alone(pod: Pod) -> None:
    kept, other = rich_exchange(), rich_exchange(client_id="anna2", session_id=OTHER)
    await pod.ingest(kept, other)
    await send(pod, "POST", SESSIONS_PATH, {"title": "empty"})
    await gone(pod, "DELETE", "/v1/clients/anna")
    assert await pod.json(SESSIONS_PATH) == {"sessions": [], "next": None}
    assert {key.split("/")[0] for key in pod.files()} == {"anna2"}
    assert await pod.ingest(kept) == ["erased"]
    assert await pod.json(SESSIONS_PATH) == {"sessions": [], "next": None}
    assert {key.split("/")[0] for key in pod.files()} == {"anna2"}
    assert (await pod.json(f"/v1/sessions/{OTHER}"))["message_count"] == 2
    await gone(pod, "DELETE", "/v1/clients/anna")
    assert await pod.ingest(rich_exchange(at=after())) == ["stored"]


async def test_an_erasure_that_broke_off_goes_on_when_it_is_asked_for_again(pod: Pod) -> None:
    await pod.ingest(rich_exchange())
    real = pod.blobs._real.delete  # type: ignore[union-attr]

    async def fail(_key: str) -> None:
        raise BlobsUnavailable("in the middle")

    pod.blobs._real.delete = fail  # type: ignore[union-attr, method-assign]
    check_problem(await pod.http.delete("/v1/clients/anna"), 503, "store_unavailable")
    assert (await pod.json(SESSIONS_PATH))["sessions"] == []
    pod.blobs._real.delete = real  # type: ignore[union-attr, method-assign]
    assert pod.files() != {}
    await gone(pod, "DELETE", "/v1/clients/anna")
    assert pod.files() == {}


async def test_search_over_http(pod: Pod) -> None:
    exchanges = [exchange(f"Hello, dog {n}", at=datetime(2026, 3, 1, 9, n, tzinfo=UTC)) for n in range(4)]
    await pod.ingest(*exchanges, exchange("hello dog", client_id="ben", session_id=OTHER))
    expected = [f"{each.id}.{direction}" for each in reversed(exchanges) for direction in ("reply", "request")]
    path, seen = "/v1/clients/anna/search", list[str]()
    cursor: dict[str, Any] = {}
    while True:
        page = await pod.json(path, q="DOG  hello", limit=3, **cursor)
        seen += [message["id"] for message in page["messages"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == expected
    found = (await pod.json(path, q="hello 2"))["messages"]
    assert found == (await pod.json(f"/v1/sessions/{SESSION}/messages", limit=4))["messages"][1::-1]
    for wordless in ("?!", "...", "\u200d", "++"):
        check_problem(await pod.http.get(path, params={"q": wordless}), 400, "query_without_words")
    assert await pod.json(path, q="dog " + " ".join("abcdefgh"[: n % 7 + 1] for n in range(50))) == {
        "messages": [],
        "next": None,
    }
    for bad in ("", "x" * 257):
        check_problem(await pod.http.get(path, params={"q": bad}), 400, "query_malformed")
    check_problem(await pod.http.get(path), 400, "query_malformed")
    check_problem(await pod.http.get(path, params={"q": "dog", "cursor": "x"}), 400, "cursor_malformed")
