"""Proxies: which one is used for an address, and that errors name it without its password."""

import asyncio

import pytest

from chat_client import History, Unreachable, connect
from chat_client.proxy import proxy_for
from devtools.ports import free_port
from tests.client.standins import speaking

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
