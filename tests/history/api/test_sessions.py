"""Reading sessions."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from history_service.stores.base import foreign_session
from tests.history.pod import Pod, check_problem
from tests.support.exchanges import MORNING, SESSION, exchange

PATH = "/v1/clients/anna/sessions"


def session_id(number: int) -> UUID:
    return UUID(int=(7 << 76) + number)


async def fill(pod: Pod, *numbers: int, client_id: str = "anna") -> None:
    """Make sessions that begin a minute apart, higher numbers later."""
    await pod.ingest(
        *(
            exchange(session_id=session_id(number), client_id=client_id, at=MORNING + timedelta(minutes=number))
            for number in numbers
        )
    )


def ids(page: Any) -> list[str]:
    return [session["id"] for session in page["sessions"]]


def expected(*numbers: int) -> list[str]:
    return [str(session_id(number)) for number in numbers]


async def walk(pod: Pod, **query: str | int) -> list[str]:
    """Return the ids of all sessions, page by page."""
    found: list[str] = []
    while True:
        page = await pod.json(PATH, **query)
        found += ids(page)
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


async def test_a_session_tells_its_client_start_and_last_message(pod: Pod) -> None:
    await pod.ingest(exchange("one"), exchange("two", at=MORNING + timedelta(hours=1)))
    shown = await pod.json(f"/v1/sessions/{SESSION}")
    assert shown == {
        "id": str(SESSION),
        "client_id": "anna",
        "time_zone": "Europe/Berlin",
        "started_at": "2026-03-01T09:00:00+00:00",
        "title": None,
        "message_count": 4,
        "last_message_at": "2026-03-01T10:00:00.020000+00:00",
    }
    assert (await pod.json(PATH)) == {"sessions": [shown], "next": None}


async def test_an_id_may_be_written_in_upper_case(pod: Pod) -> None:
    await pod.ingest(exchange())
    assert (await pod.json(f"/v1/sessions/{str(SESSION).upper()}"))["id"] == str(SESSION)


async def test_a_session_that_is_not_there(pod: Pod) -> None:
    check_problem(await pod.http.get(f"/v1/sessions/{SESSION}"), 404, "session_unknown")


@pytest.mark.parametrize("raw", ["1", "anna", SESSION.hex, f"{{{SESSION}}}", f"{SESSION}0", f"urn:uuid:{SESSION}"])
async def test_what_is_no_session_id(pod: Pod, raw: str) -> None:
    check_problem(await pod.http.get(f"/v1/sessions/{raw}"), 400, "session_id_malformed", detail="UUID")


async def test_a_client_without_sessions_has_an_empty_list(pod: Pod) -> None:
    assert await pod.json("/v1/clients/nobody/sessions") == {"sessions": [], "next": None}


@pytest.mark.parametrize("client_id", ["-anna", "a" * 65, "anna%20b", "%C3%A4nna", "anna%0A", "a,b"])
async def test_what_is_no_client_id(pod: Pod, client_id: str) -> None:
    check_problem(await pod.http.get(f"/v1/clients/{client_id}/sessions"), 400, "client_id_malformed")


@pytest.mark.parametrize("client_id", ["a", "a" * 64, "A.b_c:d-9", "9"])
async def test_what_is_a_client_id(pod: Pod, client_id: str) -> None:
    await fill(pod, 1, client_id=client_id)
    assert ids(await pod.json(f"/v1/clients/{client_id}/sessions")) == expected(1)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 200])
async def test_pages_hold_each_session_once_latest_first(pod: Pod, limit: int) -> None:
    await fill(pod, 3, 1, 5, 2, 4)
    await fill(pod, 6, client_id="ben")
    assert await walk(pod, limit=limit) == expected(5, 4, 3, 2, 1)


async def test_a_page_that_just_holds_all_has_none_behind_it(pod: Pod) -> None:
    await fill(pod, 1, 2)
    assert (await pod.json(PATH, limit=2))["next"] is None
    assert (await pod.json(PATH, limit=1))["next"] is not None


async def test_without_a_limit_a_page_has_fifty(pod: Pod) -> None:
    await fill(pod, *range(51))
    page = await pod.json(PATH)
    assert ids(page) == expected(*range(50, 0, -1))
    assert ids(await pod.json(PATH, cursor=page["next"])) == expected(0)


async def test_sessions_that_began_at_the_same_moment_are_not_lost_between_pages(pod: Pod) -> None:
    await pod.ingest(*(exchange(session_id=session_id(number)) for number in range(5)))
    assert await walk(pod, limit=2) == expected(4, 3, 2, 1, 0)


async def test_pages_stay_as_they_are_while_sessions_begin_and_go_on(pod: Pod) -> None:
    await fill(pod, 1, 2, 3, 4)
    page = await pod.json(PATH, limit=2)
    assert ids(page) == expected(4, 3)
    await fill(pod, 5, 1)
    following = await pod.json(PATH, limit=2, cursor=page["next"])
    assert ids(following) == expected(2, 1)
    assert [session["message_count"] for session in following["sessions"]] == [2, 4]


@pytest.mark.parametrize("cursor", ["", "abc", "%FF", "x" * 31, "x" * 33, "x" * 31 + "%2B", f"{SESSION}"])
async def test_a_cursor_of_somebodys_own_making(pod: Pod, cursor: str) -> None:
    answer = await pod.http.get(f"{PATH}?cursor={cursor}")
    check_problem(answer, 400, "cursor_malformed", detail="`next` of an earlier page")


@pytest.mark.parametrize("moment_us", [-(2**63), -1, 0, 2**62, 2**63 - 1])
async def test_a_cursor_at_the_end_of_time_is_harmless(pod: Pod, moment_us: int) -> None:
    await fill(pod, 1)
    key = moment_us.to_bytes(8, "big", signed=True) + SESSION.bytes
    page = await pod.json(PATH, cursor=base64.urlsafe_b64encode(key).decode())
    assert ids(page) == (expected(1) if moment_us > 1 else [])


async def test_a_cursor_outlives_its_session(pod: Pod) -> None:
    await fill(pod, 1, 2, 3, 4)
    page = await pod.json(PATH, limit=2)
    for gone in expected(3, 2):
        assert (await pod.http.delete(f"/v1/sessions/{gone}")).status_code == 204
    assert ids(await pod.json(PATH, cursor=page["next"])) == expected(1)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "", "ten", "99999", "%2B5", "\u0661"])
async def test_what_is_no_limit(pod: Pod, limit: str) -> None:
    check_problem(await pod.http.get(f"{PATH}?limit={limit}"), 400, "limit_malformed", detail="from 1 to 200")


async def test_the_same_session_id_from_two_clients_names_two_sessions(pod: Pod) -> None:
    await pod.ingest(exchange("mine"), exchange("mine, too", client_id="ben"), exchange("again", client_id="ben"))
    others = str(foreign_session(SESSION, "ben"))
    assert ids(await pod.json(PATH)) == [str(SESSION)]
    assert ids(await pod.json("/v1/clients/ben/sessions")) == [others]
    shown = await pod.json(f"/v1/sessions/{others}")
    assert (shown["client_id"], shown["message_count"]) == ("ben", 4)
    page = await pod.json(f"/v1/sessions/{SESSION}/messages")
    assert [message["text"] for message in page["messages"]] == ["mine", "you said mine"]
