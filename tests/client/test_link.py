"""Connecting: what is shown to the server, and every way in which it can fail."""

import asyncio
import gzip
import json
from functools import partial
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from chat_client import ClientError, Refused, Timing, Unreachable, WrongAnswer, connect
from devtools.ports import free_port
from tests.client.conftest import Chatbot
from tests.client.standins import denial, echo, speaking, talking

anna = partial(connect, client_id="anna", time_zone="Europe/Berlin", patience_seconds=0)


class Seen:
    """Takes down what a client shows, and talks like a chatbot."""

    def __init__(self, **headers: str) -> None:
        self._headers = headers
        self.path = ""
        self.authorization: str | None = None

    def look(self, _websocket: ServerConnection, request: Request, response: Response) -> None:
        self.path = request.path
        self.authorization = request.headers.get("Authorization")
        for name, value in self._headers.items():
            response.headers[name.replace("_", "-")] = value


async def test_the_token_is_in_a_header_and_never_in_the_address() -> None:
    seen = Seen()
    async with talking(echo, process_response=seen.look) as url:
        async with anna(url, token="eyJ.secret"):
            pass
        assert seen.authorization == "Bearer eyJ.secret"
        assert "secret" not in seen.path
        async with anna(url):
            pass
        assert seen.authorization is None


async def test_a_server_without_tls_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(Unreachable, match="it does not speak TLS; say ws:// instead of wss://"):
            async with anna(f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
                pass


async def test_a_connection_that_ends_in_its_tls_handshake_is_told() -> None:
    async with talking(echo) as url:
        with pytest.raises(Unreachable, match=r"cannot be reached: ."):
            async with anna(url.replace("ws://", "wss://")):
                pass


async def test_who_and_where_arrive_as_they_are() -> None:
    seen, session = Seen(), uuid4()
    odd = partial(connect, client_id="a b&c=d/é", time_zone="+07:00", session_id=session)
    async with talking(echo, process_response=seen.look) as url, odd(url):
        pass
    assert urlsplit(seen.path).path == "/connect"
    query = parse_qs(urlsplit(seen.path).query)
    assert UUID(query.pop("waitId")[0]).version == 4
    assert query == {"clientId": ["a b&c=d/é"], "timeZone": ["+07:00"], "sessionId": [str(session)]}


@pytest.mark.parametrize(
    ("told", "asked", "used"),
    [
        pytest.param({"chatbot_session": str(UUID(int=7))}, None, UUID(int=7), id="the server chooses"),
        pytest.param({"chatbot_session": str(UUID(int=7))}, UUID(int=8), UUID(int=7), id="the server knows better"),
        pytest.param({}, UUID(int=8), UUID(int=8), id="the server says nothing"),
        pytest.param({"chatbot_session": "seven"}, UUID(int=8), UUID(int=8), id="the server says nonsense"),
        pytest.param({}, None, None, id="nobody chooses"),
    ],
)
async def test_the_session_has_a_name(told: dict[str, str], asked: UUID | None, used: UUID | None) -> None:
    async with talking(echo, process_response=Seen(**told).look) as url, anna(url, session_id=asked) as chat:
        assert chat.session_id == used


async def test_a_session_is_kept_over_connections(chatbot: Chatbot) -> None:
    async with anna(chatbot.url) as chat:
        session = chat.session_id
        assert session is not None
    async with anna(chatbot.url, session_id=session) as chat:
        assert chat.session_id == session
        assert (await chat.ask("say hello")).text
        assert 0 < await chat.round_trip_seconds() < 60


PROBLEM = {"type": "about:blank", "title": "Busy", "status": 503, "code": "cluster_full", "detail": "all are taken"}


def problem(**more: object) -> bytes:
    return json.dumps(PROBLEM | more).encode()


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "said", "seconds"),
    [
        pytest.param(503, problem(), {}, "cluster_full", "all are taken", None, id="problem"),
        pytest.param(503, problem(place=4), {}, "cluster_full", "place 4 in the queue", None, id="place"),
        pytest.param(503, problem(), {"Retry_After": "7"}, "cluster_full", "try again in 7 s", 7.0, id="retry"),
        pytest.param(
            503,
            problem(code="limits_learning", place=1, keptSeconds=15, seconds=9),
            {"Retry_After": "1"},
            "limits_learning",
            "try again in 9 s",
            1.0,
            id="learning",
        ),
        pytest.param(429, problem(), {"Retry_After": "Wed, 21 Oct"}, "cluster_full", "429", None, id="retry by date"),
        pytest.param(503, problem(detail=None), {}, "cluster_full", "Busy", None, id="title only"),
        pytest.param(502, b"<h1>Bad Gateway</h1>", {}, "", "<h1>Bad Gateway</h1>", None, id="page"),
        pytest.param(401, b"", {}, "", "no reason was given", None, id="nothing"),
        pytest.param(500, b"\xff\xfe\x00" * 100_000, {}, "", "500", None, id="garbage"),
        pytest.param(400, b"[1, 2]", {}, "", "[1, 2]", None, id="list"),
        pytest.param(400, b'{"code": ', {}, "", '{"code":', None, id="cut short"),
        pytest.param(400, b"[" * 100_000, {}, "", "400", None, id="deep"),
        pytest.param(400, gzip.compress(problem()), {"Content_Encoding": "gzip"}, "", "400", None, id="gzip"),
    ],
)
async def test_a_denial_is_told(
    status: int, body: bytes, headers: dict[str, str], code: str, said: str, seconds: float | None
) -> None:
    async with talking(echo, process_request=denial(status, body, **headers)) as url:
        with pytest.raises(Refused, match=str(status)) as refused:
            async with anna(url):
                raise AssertionError
    why = refused.value
    assert (why.status, why.code, why.retry_after_seconds, why.exit_code) == (status, code, seconds, 3)
    assert said in str(why)
    assert len(str(why)) < 300


async def test_the_chatbot_says_why_it_refuses(chatbot: Chatbot) -> None:
    with pytest.raises(Refused) as refused:
        async with connect(chatbot.url, client_id="anna", time_zone="Europe/Atlantis"):
            raise AssertionError
    assert (refused.value.status, refused.value.code) == (400, "time_zone_unknown")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await gone(reader, writer)


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with speaking(silent) as port, asyncio.timeout(60):
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            async with anna(f"ws://127.0.0.1:{port}", timing=Timing(open_seconds=0.2)):
                raise AssertionError


async def test_something_else_that_answers_is_told() -> None:
    async with speaking(chatty) as port:
        with pytest.raises(WrongAnswer, match="is not a chatbot"):
            async with anna(f"ws://127.0.0.1:{port}"):
                raise AssertionError


async def test_a_server_that_hangs_up_during_the_handshake_is_told() -> None:
    async with speaking(gone) as port:
        with pytest.raises(Unreachable, match="broke before there was an answer"):
            async with anna(f"ws://127.0.0.1:{port}"):
                raise AssertionError


async def test_a_page_is_no_chatbot() -> None:
    async with talking(echo, process_request=denial(200, b"<h1>Welcome</h1>")) as url:
        with pytest.raises(WrongAnswer, match="it said 200"):
            async with anna(url):
                raise AssertionError


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("127.0.0.1", id="nobody listens"),
        pytest.param("no-such-host.invalid", id="no such host"),
        pytest.param("a..b", id="no name"),
        pytest.param("a" * 64, id="long name"),
    ],
)
async def test_what_cannot_be_reached_is_told(host: str) -> None:
    with pytest.raises(Unreachable, match="cannot be reached") as trouble:
        async with anna(f"ws://{host}:{free_port()}"):
            raise AssertionError
    assert trouble.value.exit_code == 5


async def test_tls_where_there_is_none_is_told() -> None:
    async with talking(echo) as url:
        with pytest.raises(ClientError) as trouble:
            async with anna(url.replace("ws:", "wss:")):
                raise AssertionError
    assert trouble.value.exit_code == 5


async def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("socks_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(Unreachable, match="SOCKS"):
        async with anna("ws://chat.example"):
            raise AssertionError
