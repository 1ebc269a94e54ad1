"""Reading messages, one by one and in pages."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from frameproto import error_response
from frameproto.kinds import Outcome
from servicekit.uuid7 import uuid7
from tests.history.pod import SHOWN, SPOKEN, VIDEO, VOICE, Pod, check_problem, message_id, rich_exchange
from tests.support.exchanges import MORNING, SESSION, exchange

PATH = f"/v1/sessions/{SESSION}/messages"
ARRIVALS = f"/v1/sessions/{SESSION}/arrivals"


def exchange_id(number: int) -> UUID:
    return UUID(int=(7 << 76) + (1 << 79) + number)


async def fill(pod: Pod, *numbers: int) -> None:
    """Keep exchanges that are a minute apart, higher numbers later."""
    await pod.ingest(
        *(exchange(str(number), id_=exchange_id(number), at=MORNING + timedelta(minutes=number)) for number in numbers)
    )


def ids(page: Any) -> list[str]:
    return [message["id"] for message in page["messages"]]


def expected(*numbers: int) -> list[str]:
    return [message_id(exchange_id(number), side) for number in numbers for side in ("request", "reply")]


async def walk_back(pod: Pod, **query: str | int) -> list[str]:
    """Return the ids of all messages, read from the latest page to the first."""
    found: list[str] = []
    while True:
        page = await pod.json(PATH, **query)
        found = ids(page) + found
        if page["before"] is None:
            return found
        query["before"] = page["before"]


async def walk_on(pod: Pod, after: str, **query: str | int) -> list[str]:
    """Return the ids of all messages behind one, read to the latest."""
    found: list[str] = []
    following: str | None = after
    while following is not None:
        page = await pod.json(PATH, after=following, **query)
        found += ids(page)
        following = page["after"]
    return found


async def test_an_exchange_is_two_messages(pod: Pod) -> None:
    kept = exchange("hello")
    await pod.ingest(kept)
    shown: dict[str, Any] = {
        "exchange_id": str(kept.id),
        "message_id": None,
        "session_id": str(SESSION),
        "kind": "text",
        "media": {},
        "outcome": "answered",
    }
    asked = {
        **shown,
        "id": f"{kept.id}.request",
        "direction": "request",
        "text": "hello",
        "transcribed": False,
        "sent_at": "2026-03-01T09:00:00+00:00",
    }
    answered = {
        **shown,
        "id": f"{kept.id}.reply",
        "direction": "reply",
        "text": "you said hello",
        "transcribed": False,
        "sent_at": "2026-03-01T09:00:00.020000+00:00",
    }
    assert await pod.json(PATH) == {"messages": [asked, answered], "before": None, "after": None}
    assert await pod.json(f"/v1/messages/{kept.id}.request") == asked
    assert await pod.json(f"/v1/messages/{kept.id}.reply") == answered


async def test_a_message_tells_where_its_media_is(pod: Pod) -> None:
    spoken, shown = exchange(request=VOICE, response=SPOKEN), rich_exchange()
    await pod.ingest(spoken, shown)

    async def media(message: str) -> Any:
        found = await pod.json(f"/v1/messages/{message}")
        return found["kind"], found["text"], found["media"]

    def part(message: str, name: str, content_type: str, data: Any) -> dict[str, Any]:
        href = f"/v1/messages/{message}/media/{name}"
        return {name: {"href": href, "content_type": content_type, "bytes": len(data)}}

    for message, kind, text, parts in [
        (f"{spoken.id}.request", "voice", None, [("voice", "audio/mpeg", VOICE.body)]),
        (f"{spoken.id}.reply", "voice", SPOKEN.text, [("voice", "audio/mpeg", SPOKEN.voice)]),
        (f"{shown.id}.request", "video", None, [("video", "video/mp4", VIDEO.body)]),
        (
            f"{shown.id}.reply",
            "video",
            SHOWN.text,
            [("voice", "audio/mpeg", SHOWN.voice), ("image", "image/jpeg", SHOWN.image)],
        ),
    ]:
        links: dict[str, Any] = {}
        for one in parts:
            links |= part(message, *one)
        assert await media(message) == (kind, text, links)


async def test_an_answer_that_failed_is_kept_as_an_error(pod: Pod) -> None:
    failed = exchange(response=error_response("internal", "something broke"), outcome=Outcome.FAILED)
    await pod.ingest(failed)
    reply = await pod.json(f"/v1/messages/{failed.id}.reply")
    assert (reply["kind"], reply["outcome"], reply["text"]) == ("error", "failed", "internal: something broke")


@pytest.mark.parametrize("text", ["\0", "a\u2028b", "\U0001f600", '"\\', "x" * 100_000], ids=repr)
async def test_a_text_comes_back_as_it_came(pod: Pod, text: str) -> None:
    kept = exchange(text)
    await pod.ingest(kept)
    assert (await pod.json(f"/v1/messages/{kept.id}.request"))["text"] == text


async def test_a_message_that_is_not_there(pod: Pod) -> None:
    check_problem(await pod.http.get(f"/v1/messages/{uuid7(MORNING)}.reply"), 404, "message_unknown")


@pytest.mark.parametrize(
    "raw", ["1", "x.reply", f"{SESSION}", f"{SESSION}.", f"{SESSION}.both", f"{SESSION.hex}.reply", f"{SESSION}.reply."]
)
async def test_what_is_no_message_id(pod: Pod, raw: str) -> None:
    answer = await pod.http.get(f"/v1/messages/{raw}")
    check_problem(answer, 400, "message_id_malformed", detail="an exchange id, a dot, and request or reply")


async def test_messages_of_a_session_that_is_not_there(pod: Pod) -> None:
    check_problem(await pod.http.get(PATH), 404, "session_unknown")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 9, 10, 11, 200])
async def test_pages_back_and_forth_hold_each_message_once_oldest_first(pod: Pod, limit: int) -> None:
    await fill(pod, 3, 1, 5, 2, 4)
    everything = expected(1, 2, 3, 4, 5)
    assert await walk_back(pod, limit=limit) == everything
    for start, cursor in enumerate(everything):
        assert await walk_on(pod, cursor, limit=limit) == everything[start + 1 :]
        assert await walk_back(pod, before=cursor, limit=limit) == everything[:start]


async def test_without_a_cursor_the_latest_messages_come(pod: Pod) -> None:
    await fill(pod, 1, 2, 3)
    page = await pod.json(PATH, limit=3)
    assert ids(page) == expected(1, 2, 3)[3:]
    assert (page["before"], page["after"]) == (message_id(exchange_id(2), "reply"), None)


async def test_without_a_limit_a_page_has_fifty(pod: Pod) -> None:
    await fill(pod, *range(26))
    assert ids(await pod.json(PATH)) == expected(*range(1, 26))


async def test_a_page_back_in_time_tells_how_to_come_forward_again(pod: Pod) -> None:
    await fill(pod, 1, 2, 3)
    latest = await pod.json(PATH, limit=2)
    middle = await pod.json(PATH, limit=2, before=latest["before"])
    assert ids(middle) == expected(2)
    assert await walk_on(pod, middle["after"], limit=2) == expected(3)


async def test_pages_stay_as_they_are_while_messages_arrive(pod: Pod) -> None:
    await fill(pod, 1, 2, 3, 4)
    latest = await pod.json(PATH, limit=4)
    await fill(pod, 5, 6)
    assert ids(await pod.json(PATH, limit=4, before=latest["before"])) == expected(1, 2)
    assert await walk_on(pod, ids(latest)[-1], limit=1) == expected(5, 6)


async def follow(pod: Pod, **query: str | int) -> tuple[list[str], str]:
    """Return the ids of all that has arrived behind a cursor, and the next cursor."""
    found: list[str] = []
    while True:
        page = await pod.json(ARRIVALS, **query)
        if not page["messages"]:
            assert page["next"] == query.get("cursor", page["next"])
            return found, page["next"]
        found += ids(page)
        query["cursor"] = page["next"]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_a_follower_gets_each_message_once_in_the_order_of_arrival(pod: Pod, limit: int) -> None:
    await fill(pod, 3, 1)
    seen, cursor = await follow(pod, limit=limit)
    assert seen == expected(3, 1)
    await fill(pod, 2, 3, 4)
    await fill(pod, 0)
    seen, cursor = await follow(pod, cursor=cursor, limit=limit)
    assert seen == expected(2, 4, 0)
    assert await follow(pod, cursor=cursor) == ([], cursor)
    assert await walk_back(pod) == expected(0, 1, 2, 3, 4), "pages go by time"


async def test_from_now_on_only_what_is_new_comes(pod: Pod) -> None:
    await fill(pod, 2)
    page = await pod.json(ARRIVALS, cursor="now")
    assert page["messages"] == []
    await fill(pod, 1)
    assert (await follow(pod, cursor=page["next"]))[0] == expected(1)


async def test_a_follower_goes_on_though_the_rest_of_an_exchange_is_deleted(pod: Pod) -> None:
    await fill(pod, 1, 2)
    page = await pod.json(ARRIVALS, limit=1)
    assert ids(page) == expected(1)[:1]
    await pod.http.delete(f"/v1/messages/{expected(1)[1]}")
    assert (await follow(pod, cursor=page["next"]))[0] == expected(2)


@pytest.mark.parametrize("raw", ["", "5", "last", "-1.reply", "1.both", "1.reply ", "9" * 19 + ".reply", "٣.reply"])
async def test_a_follow_cursor_that_is_none(pod: Pod, raw: str) -> None:
    await fill(pod, 1)
    check_problem(await pod.http.get(ARRIVALS, params={"cursor": raw}), 400, "cursor_malformed", detail="next")


async def test_a_follow_cursor_far_ahead_is_fine(pod: Pod) -> None:
    await fill(pod, 1)
    cursor = "9" * 18 + ".request"
    assert await follow(pod, cursor=cursor) == ([], cursor)


async def test_a_cursor_need_not_name_a_message_that_is_there(pod: Pod) -> None:
    await fill(pod, 1, 3)
    gap = message_id(exchange_id(2), "reply")
    assert ids(await pod.json(PATH, before=gap)) == expected(1)
    assert ids(await pod.json(PATH, after=gap)) == expected(3)


async def test_pages_hold_nothing_of_other_sessions(pod: Pod) -> None:
    await fill(pod, 1, 3)
    await pod.ingest(exchange("elsewhere", id_=exchange_id(2), session_id=UUID(int=5)))
    assert await walk_back(pod, limit=1) == expected(1, 3)


@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("raw", ["", "5", f"{SESSION}", f"{SESSION}.both", "null"])
async def test_a_cursor_that_is_no_message_id(pod: Pod, name: str, raw: str) -> None:
    await fill(pod, 1)
    check_problem(await pod.http.get(f"{PATH}?{name}={raw}"), 400, "cursor_malformed", detail=name)


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
async def test_before_and_after_together_give_what_is_between(pod: Pod, limit: int) -> None:
    await fill(pod, 1, 2, 3, 4)
    everything = expected(1, 2, 3, 4)
    seen: list[str] = []
    cursor: str | None = everything[1]
    while cursor is not None:
        page = await pod.json(PATH, after=cursor, before=everything[6], limit=limit)
        seen += ids(page)
        cursor = page["after"]
    assert seen == everything[2:6]
    assert await pod.json(PATH, after=everything[3], before=everything[2]) == {
        "messages": [],
        "before": None,
        "after": None,
    }


async def test_a_transcript_is_the_text_of_what_was_said_and_marked_as_such(pod: Pod) -> None:
    said = exchange(request=VOICE, transcript="meet me at the harbour")
    written = exchange("the harbour in writing")
    assert await pod.ingest(said, written) == ["stored", "stored"]
    message = await pod.json(f"/v1/messages/{said.id}.request")
    assert (message["kind"], message["text"], message["transcribed"]) == ("voice", "meet me at the harbour", True)
    assert message["media"].keys() == {"voice"}
    found = (await pod.json("/v1/clients/anna/search", q="harbour"))["messages"]
    told = {each["id"]: each["transcribed"] for each in found if each["direction"] == "request"}
    assert told == {f"{said.id}.request": True, f"{written.id}.request": False}
    lines = [json.loads(line) for line in (await pod.http.get("/v1/clients/anna/export")).text.splitlines()]
    exported = {line["id"]: line.get("transcribed") for line in lines if line["type"] == "message"}
    assert exported[f"{said.id}.request"] is True
    assert exported[f"{said.id}.reply"] is False
    assert (await pod.http.delete(f"/v1/messages/{said.id}.request")).status_code == 204
    assert (await pod.json("/v1/clients/anna/search", q="meet"))["messages"] == []


async def test_a_voice_without_a_transcript_has_no_text(pod: Pod) -> None:
    said = exchange(request=VOICE)
    await pod.ingest(said)
    message = await pod.json(f"/v1/messages/{said.id}.request")
    assert (message["text"], message["transcribed"]) == (None, False)
