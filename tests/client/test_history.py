"""Reading back from history, page by page, and what happens when that is not what answers."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from chat_client import History, Refused, Unreachable, WrongAnswer
from devtools.ports import free_port
from tests.client.conftest import Chatbot, keep
from tests.client.standins import answering, speaking
from tests.support.exchanges import MORNING, SESSION, exchange

Read = Callable[[History], Awaitable[object]]
MESSAGE_ID = f"{SESSION}.reply"


@pytest.fixture
async def history(chatbot: Chatbot) -> AsyncIterator[History]:
    async with History(chatbot.history_url) as history:
        yield history


async def list_sessions(history: History) -> list[object]:
    return [session async for session in history.sessions("anna")]


async def list_messages(history: History) -> object:
    return [message async for message in history.messages(SESSION)]


async def follow_messages(history: History) -> object:
    return await history.follow(SESSION)


async def one_message(history: History) -> object:
    return await history.message(MESSAGE_ID)


READS = [
    pytest.param(list_sessions, id="sessions"),
    pytest.param(list_messages, id="messages"),
    pytest.param(follow_messages, id="follow"),
    pytest.param(one_message, id="message"),
]


async def test_all_sessions_come_once_however_many_pages_they_fill(chatbot: Chatbot, history: History) -> None:
    client = f"client-{uuid4().hex[:8]}"
    ids = [uuid4() for _ in range(230)]
    await keep(
        chatbot,
        [
            exchange(session_id=id_, client_id=client, at=MORNING + timedelta(seconds=second))
            for second, id_ in enumerate(ids)
        ],
    )
    sessions = [session async for session in history.sessions(client)]
    assert [session.id for session in sessions] == ids[::-1]
    latest = sessions[0]
    assert (latest.client_id, latest.time_zone, latest.message_count) == (client, "Europe/Berlin", 2)
    assert (latest.started_at, latest.last_message_at) == (
        MORNING + timedelta(seconds=229),
        MORNING + timedelta(seconds=229, milliseconds=20),
    )


async def test_all_messages_come_oldest_first_or_so_many_of_the_newest(chatbot: Chatbot, history: History) -> None:
    session = uuid4()
    await keep(
        chatbot,
        [exchange(str(number), session_id=session, at=MORNING + timedelta(seconds=number)) for number in range(125)],
    )
    messages = [message async for message in history.messages(session)]
    assert [message.text for message in messages[::2]] == [str(number) for number in range(125)]
    assert {message.direction for message in messages[::2]} == {"request"}
    assert len(messages) == 250
    for newest in (1, 99, 100, 101, 250, 251):
        assert [message async for message in history.messages(session, newest=newest)] == messages[-newest:]
    assert await history.message(messages[7].id) == messages[7]


async def test_a_follower_gets_each_message_once_also_when_it_is_late(chatbot: Chatbot, history: History) -> None:
    session_id, seen = uuid4(), []
    await keep(chatbot, [exchange("first", session_id=session_id)])
    start = (await history.follow(session_id, "now")).cursor
    cursor = start
    for minutes in (5, 1, 3):
        late = exchange(str(minutes), session_id=session_id, at=MORNING + timedelta(minutes=minutes))
        await keep(chatbot, [late])
        arrived = await history.follow(session_id, cursor)
        seen += [message.text for message in arrived.messages]
        cursor = arrived.cursor
    assert seen == ["5", "you said 5", "1", "you said 1", "3", "you said 3"]
    assert (await history.follow(session_id, cursor)).messages == ()
    assert len((await history.follow(session_id)).messages) == 8


async def test_who_never_spoke_has_no_sessions(history: History) -> None:
    assert [session async for session in history.sessions("nobody")] == []


@pytest.mark.parametrize("client", ["..", "a/../b", "a b", "é", "a?b#c", "%2e%2e", ""])
async def test_an_odd_client_id_is_refused_and_leads_nowhere_else(history: History, client: str) -> None:
    with pytest.raises(Refused) as refused:
        _ = [session async for session in history.sessions(client)]
    assert refused.value.status in {400, 404, 405}


async def test_what_is_not_there_is_refused(history: History) -> None:
    with pytest.raises(Refused, match="404 session_unknown"):
        await anext(history.messages(uuid4()))
    with pytest.raises(Refused, match="404 message_unknown"):
        await history.message(MESSAGE_ID)
    with pytest.raises(Refused, match="400 message_id_malformed"):
        await history.message("x.request")


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "http://{}/v1", "http://{}/v1/", "{}"])
async def test_an_address_has_several_forms(chatbot: Chatbot, form: str) -> None:
    async with History(form.format(chatbot.history_url.removeprefix("http://"))) as history:
        assert await list_sessions(history) is not None


async def test_the_token_is_in_a_header_and_never_in_the_address() -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((str(request.url), request.headers.get("Authorization")))
        return web.json_response({"sessions": [], "next": None})

    async with answering(answer) as url:
        for token in ("eyJ.secret", None):
            async with History(url, token=token) as history:
                assert await list_sessions(history) == []
    assert [authorization for _, authorization in seen] == ["Bearer eyJ.secret", None]
    assert not any("secret" in address for address, _ in seen)


def saying(body: bytes, status: int = 200, **headers: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return what answers everything in the same way, as JSON if nothing else is said."""
    fields = {"Content-Type": "application/json"} | {name.replace("_", "-"): headers[name] for name in headers}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=fields)

    return answer


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("status", "code", "retry"), [(401, "token_expired", None), (404, "not_found", None), (503, "store_unavailable", 5)]
)
async def test_a_refusal_is_told(read: Read, status: int, code: str, retry: int | None) -> None:
    body = json.dumps({"status": status, "code": code, "title": "No"}).encode()
    more = {} if retry is None else {"Retry_After": str(retry)}
    async with answering(saying(body, status, **more)) as url, History(url) as history:
        with pytest.raises(Refused, match=f"{status} {code}") as refused:
            await read(history)
    why = refused.value
    assert (why.status, why.code, why.retry_after_seconds, why.exit_code) == (status, code, retry, 3)


GOOD_MEDIA = {"href": "/v1/x", "content_type": "audio/mpeg", "bytes": 3}
GOOD: dict[str, Any] = {
    "id": MESSAGE_ID,
    "direction": "reply",
    "kind": "voice",
    "text": "hello",
    "media": {"voice": GOOD_MEDIA},
    "outcome": "answered",
    "sent_at": "2026-03-01T09:00:00+00:00",
}


@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param({name: ...}, id=f"no {name}") for name in GOOD),
        pytest.param({"id": "../../etc/passwd"}, id="id that is a path"),
        pytest.param({"id": 7}, id="id that is a number"),
        pytest.param({"media": []}, id="media that are a list"),
        pytest.param({"media": {"../x": GOOD_MEDIA}}, id="part that is a path"),
        pytest.param({"media": {"voice": {"href": "/v1/x"}}}, id="media without a size"),
        pytest.param({"media": {"voice": GOOD_MEDIA | {"bytes": "many"}}}, id="size that is no number"),
        pytest.param({"sent_at": "yesterday"}, id="time that is none"),
    ],
)
async def test_a_message_of_another_shape_is_no_message(change: dict[str, Any]) -> None:
    item = {name: value for name, value in (GOOD | change).items() if value is not ...}
    for body in (item, {"messages": [item], "before": None}):
        read = one_message if body is item else list_messages
        async with answering(saying(json.dumps(body).encode())) as url, History(url) as history:
            with pytest.raises(WrongAnswer, match="is not the history of a chatbot"):
                await read(history)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"", {}, id="nothing"),
        pytest.param(b"{", {}, id="cut short"),
        pytest.param(b"\xff\xfe", {}, id="not UTF-8"),
        pytest.param(b"[" * 100_000, {}, id="deep"),
        pytest.param(b"null", {}, id="null"),
        pytest.param(b"[]", {}, id="list"),
        pytest.param(b'"sessions"', {}, id="string"),
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b'{"sessions": [7], "messages": [7], "next": null, "before": null}', {}, id="odd items"),
        pytest.param(b'{"sessions": 7, "messages": 7, "next": null, "before": null}', {}, id="no items"),
        pytest.param(b"<h1>Welcome</h1>", {"Content_Type": "text/html"}, id="page"),
        pytest.param(gzip.compress(b"{}"), {}, id="compressed, and it does not say so"),
    ],
)
async def test_garbage_is_no_history(read: Read, body: bytes, headers: dict[str, Any]) -> None:
    async with answering(saying(body, **headers)) as url, History(url) as history:
        with pytest.raises(WrongAnswer, match="is not the history of a chatbot") as wrong:
            await read(history)
    assert wrong.value.exit_code == 5


async def test_a_status_that_is_neither_good_nor_bad_is_no_history() -> None:
    async with answering(saying(b"", 204)) as url, History(url) as history:
        with pytest.raises(WrongAnswer, match="it said 204"):
            await list_sessions(history)


async def test_pages_without_anything_on_them_end() -> None:
    empty = b'{"sessions": [], "messages": [], "next": "again", "before": "again"}'
    async with answering(saying(empty)) as url, History(url) as history:
        assert await list_sessions(history) == []
        assert await list_messages(history) == []


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    await reader.read()


async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("speak", "why"), [(silent, "no answer"), (half, "no answer"), (chatty, "cannot be reached")])
async def test_a_server_that_does_not_answer_is_given_up(
    read: Read, speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], why: str
) -> None:
    async with asyncio.timeout(60), speaking(speak) as port, History(f"127.0.0.1:{port}", seconds=0.1) as history:
        with pytest.raises(Unreachable, match=why):
            await read(history)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        pytest.param("http://127.0.0.1:{}", "cannot be reached", id="nobody listens"),
        pytest.param("http://no-such-host.invalid:{}", "cannot be reached", id="no such host"),
        pytest.param("http://a..b:{}", "cannot be reached", id="no name"),
        pytest.param("ftp://127.0.0.1:{}", "is not an address", id="other scheme"),
        pytest.param("http://", "is not an address", id="empty"),
        pytest.param("http://127.0.0.1:port", "is not an address", id="no port"),
        pytest.param("http://[::1", "is not an address", id="unfinished"),
    ],
)
async def test_what_cannot_be_reached_is_told(address: str, why: str) -> None:
    async with History(address.format(free_port())) as history:
        with pytest.raises(Unreachable, match=why) as trouble:
            await list_sessions(history)
    assert trouble.value.exit_code == 5
