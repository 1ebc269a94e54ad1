"""Who may connect, over a real handshake: parameters, origins and tokens."""

from datetime import timedelta

import aiohttp
import pytest
from websockets.asyncio.client import connect

from frameproto.denials import DenialCode
from servicekit.settings.origins import parse_origin
from servicekit.tokens import JwtAuth, mint
from tests.chat.server_parts import denial, open_server, text

WAIT_ID = "7b0a1f0e-53c8-4b7c-9d37-0f6f6a3f2f11"
SECRET = "a secret that is long enough for sha-256"


BAD_PARAMETERS = [
    ("timeZone=UTC", "client_id_missing"),
    ("clientId=&timeZone=UTC", "client_id_malformed"),
    ("clientId=..&timeZone=UTC", "client_id_malformed"),
    ("clientId=a/b&timeZone=UTC", "client_id_malformed"),
    ("clientId=%00&timeZone=UTC", "client_id_malformed"),
    ("clientId=anna%0a&timeZone=UTC", "client_id_malformed"),
    (f"clientId={'a' * 65}&timeZone=UTC", "client_id_malformed"),
    ("clientId=a&clientId=b&timeZone=UTC", "client_id_malformed"),
    ("clientId=anna", "time_zone_missing"),
    ("clientId=anna&timeZone=Mars/Olympus", "time_zone_unknown"),
    ("clientId=anna&timeZone=localtime", "time_zone_unknown"),
    ("clientId=anna&timeZone=../../etc/passwd", "time_zone_unknown"),
    ("clientId=anna&timeZone=", "time_zone_malformed"),
    ("clientId=anna&timeZone=+99:00", "time_zone_malformed"),
    ("clientId=anna&timeZone=Asia/Tokyo", "time_zone_not_served"),
    ("clientId=anna&timeZone=UTC&sessionId=1", "session_id_malformed"),
    ("clientId=anna&timeZone=UTC&waitId=", "wait_id_malformed"),
    (f"clientId=anna&timeZone=UTC&waitId={'a' * 15}", "wait_id_malformed"),
    (f"clientId=anna&timeZone=UTC&waitId={'a' * 65}", "wait_id_malformed"),
    (f"clientId=anna&timeZone=UTC&waitId={'a' * 16}%0a", "wait_id_malformed"),
    (f"clientId=anna&timeZone=UTC&waitId={WAIT_ID}&waitId={WAIT_ID}", "wait_id_malformed"),
]


def test_every_code_of_a_bad_parameter_is_met_below() -> None:
    not_of_a_parameter = {DenialCode.WEBSOCKET_KEY_MALFORMED}
    expected = {code for code in DenialCode if code.status == 400} - not_of_a_parameter
    assert {code for _, code in BAD_PARAMETERS} == expected


@pytest.mark.parametrize(("query", "code"), BAD_PARAMETERS)
async def test_bad_parameters_are_refused_before_the_upgrade_and_by_a_peek_alike(query: str, code: str) -> None:
    async with open_server(zones="Europe/*,UTC") as server:
        status, problem, _ = await denial(server.url(query))
        assert (status, problem["code"]) == (400, code)
        assert problem["detail"]
        async with aiohttp.ClientSession() as http, http.get(server.url(query, "http")) as peeked:
            assert (peeked.status, (await peeked.json(content_type=None))["code"]) == (400, code)
        assert (await server.connections.state()).high_water == 0


async def test_an_offset_whose_plus_became_a_space_is_understood() -> None:
    async with open_server() as server, connect(server.url("clientId=anna&timeZone=+07:00")) as chat:
        await chat.send(text("hello"))
        await chat.recv()
        assert server.outbox.kept[0].time_zone == "+07:00"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:1", "https://[", "", "file://", "capacitor://localhost"],
)
async def test_a_foreign_origin_is_refused(origin: str) -> None:
    async with open_server() as server:
        status, problem, _ = await denial(server.url(), additional_headers={"Origin": origin})
        assert (status, problem["code"]) == (403, "origin_not_allowed")


async def test_our_own_and_allowed_origins_may_connect() -> None:
    async with open_server(origins=frozenset({"https://app.example"})) as server:
        for origin in (f"http://127.0.0.1:{server.port}", "https://app.example", "HTTPS://APP.example"):
            async with connect(server.url(), additional_headers={"Origin": origin}) as chat:
                await chat.send(text("hello"))
                await chat.recv()


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost",
        "tauri://localhost",
        "safari-web-extension://0197B0C8-0000-4000-8000-00000000000A",
        "null",
    ],
)
async def test_an_app_may_connect_where_its_origin_is_named(origin: str) -> None:
    async with open_server(origins=frozenset({parse_origin(origin)})) as server:
        async with connect(server.url(), additional_headers={"Origin": origin}) as chat:
            await chat.send(text("hello"))
            await chat.recv()
        status, _, _ = await denial(server.url(), additional_headers={"Origin": "ionic://localhost"})
        assert status == 403


async def test_the_app_of_another_scheme_is_not_of_our_origin() -> None:
    async with open_server() as server:
        for scheme in ("capacitor", "chrome-extension"):
            origin = f"{scheme}://127.0.0.1:{server.port}"
            status, problem, _ = await denial(server.url(), additional_headers={"Origin": origin})
            assert (status, problem["code"]) == (403, "origin_not_allowed")


async def test_tokens_open_their_own_client_only() -> None:
    auth = JwtAuth([SECRET], audience="chatbot")
    anna = mint(SECRET, subject="anna", audience="chatbot", lifetime=timedelta(minutes=5))
    async with open_server(authenticator=auth) as server:
        status, problem, headers = await denial(server.url())
        assert (status, problem["code"]) == (401, "token_missing")
        assert headers["www-authenticate"].startswith("Bearer")
        bearer = {"Authorization": f"Bearer {anna}"}
        status, problem, _ = await denial(server.url("clientId=bob&timeZone=UTC"), additional_headers=bearer)
        assert (status, problem["code"]) == (403, "client_not_yours")
        async with connect(server.url(), additional_headers=bearer) as chat:
            await chat.send(text("hello"))
            await chat.recv()
        async with connect(server.url(), subprotocols=["chatbot.v1", f"bearer.{anna}"]) as chat:  # type: ignore[list-item]
            assert chat.subprotocol == "chatbot.v1"
