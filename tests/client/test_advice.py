"""What is said about errors: the proxy that was used, the other service, the option that is missing."""

import asyncio
import re

import pytest

from chat_client import ClientError, ConnectionLost, History, Refused, Unreachable, connect
from chat_client.cli.advice import advised
from chat_client.denials import DENIAL_ADVICE
from chat_client.proxy import proxy_for
from devtools.ports import free_port
from devtools.servers import ROOT
from frameproto.connection import TEMPORARY_DENIALS, CloseCode
from tests.client.conftest import Chatbot, Cli
from tests.client.standins import speaking

NEVER_MET = {"websocket_key_malformed", "websocket_version_unsupported", "wait_id_malformed", "upgrade_required"}
"""Denials that this client gives no cause for; the last one says that it would be let in."""

PROXIES = ("ws_proxy", "wss_proxy", "http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("ws://chat.example", "http://other:3128"),
        ("wss://chat.example", "http://proxy:3128"),
        ("http://chat.example", None),
        ("https://chat.example/v1", "http://proxy:3128"),
        ("wss://inside.example", None),
        ("nothing", None),
    ],
)
def test_the_proxy_of_an_address(url: str, used: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://anna:secret@proxy:3128")
    monkeypatch.setenv("ws_proxy", "http://other:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for(url) == used


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://anna:secret@127.0.0.1:{port}")
    for trouble in (await _connecting("ws://chat.example"), await _reading("http://chat.example")):
        assert f"(through the proxy http://127.0.0.1:{port}" in str(trouble)
        assert "secret" not in str(trouble)


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with speaking(forbid) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        for trouble in (await _connecting("wss://chat.example"), await _reading("https://chat.example")):
            assert f"the proxy http://127.0.0.1:{port}" in str(trouble)
            assert "403" in str(trouble)


async def _connecting(url: str) -> Unreachable:
    with pytest.raises(Unreachable) as trouble:
        async with connect(url, client_id="anna", time_zone="UTC"):
            raise AssertionError
    return trouble.value


async def _reading(url: str) -> Unreachable:
    with pytest.raises(Unreachable) as trouble:
        async with History(url) as history:
            _ = [session async for session in history.sessions("anna")]
    return trouble.value


def test_the_other_service_is_told(chatbot: Chatbot, cli: Cli) -> None:
    wrong = chatbot.history_url.replace("http", "ws")
    for words in (["connect", wrong], ["send", "text", wrong, "hello"]):
        done = cli(*words, "--client-id", "anna", "--time-zone", "UTC")
        assert done.returncode == 3
        assert f"{wrong} is the history service; the chat service has another address" in done.stderr
    read = cli("sessions", "--client-id", "anna", "--history", chatbot.url.replace("ws", "http"))
    assert read.returncode == 3
    assert f"is the chat service, not history; history is at {chatbot.history_url}, say --history" in read.stderr
    learned = cli("sessions", "--client-id", "anna", CHAT_URL=wrong)
    assert learned.returncode == 5
    assert "is the history service, not chat" in learned.stderr


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (Refused(401, "token_invalid", "no"), "refused (401 token_invalid): no; get a token from the right issuer"),
        (
            Refused(401, "token_missing", "give it by --token-file"),
            "refused (401 token_missing): give it by --token-file",
        ),
        (Refused(503, "draining", "no", 2.0), "refused (503 draining): no; try again in 2 s"),
        (Refused(503, "line_full", "no"), "refused (503 line_full): no; try again later"),
        (
            Refused(400, "time_zone_missing", "no"),
            "refused (400 time_zone_missing): no; say where you are (--time-zone)",
        ),
        (Refused(418, "teapot", "no"), "refused (418 teapot): no"),
        (ConnectionLost(CloseCode.TOKEN_EXPIRED), "the token has expired (4003); get a fresh token"),
        (ConnectionLost(CloseCode.ABNORMAL), "the connection broke (1006)"),
    ],
)
def test_what_to_do_is_said_once(exc: ClientError, said: str) -> None:
    assert advised(exc).startswith(said)
    assert advised(exc).count("--token-file") <= 1


def test_a_program_is_told_the_same_as_a_person() -> None:
    refused = Refused(403, "client_not_yours", "no")
    assert refused.advice == DENIAL_ADVICE["client_not_yours"].action
    assert f"; {refused.advice} (--client-id)" in advised(refused)


def test_there_is_advice_for_every_denial_that_the_protocol_lists() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    table = page.split("### When there is no connection")[1].split("## Talking")[0]
    listed = {
        code
        for row in re.findall(r"^\| \d{3} \| ([^|]+) \|", table, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", row)
    }
    assert listed >= TEMPORARY_DENIALS
    assert listed - DENIAL_ADVICE.keys() == NEVER_MET
