"""What a browser is given: the page under a strict policy, and the description of the installation."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from chat_service.settings import ChatSettings
from chat_service.web import web_routes
from servicekit.problems import install
from servicekit.settings import load


@asynccontextmanager
async def browser(**settings: object) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=web_routes(ChatSettings(_env_file=None, **settings)))  # type: ignore[call-arg,arg-type]
    install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://chat.example") as client:
        yield client


async def test_the_installation_is_described() -> None:
    async with browser(public_history_url="https://history.example/", window=7, max_text_bytes=1000) as client:
        answer = await client.get("/.well-known/chatbot")
    assert answer.status_code == 200
    assert answer.json() == {
        "connect": "/connect",
        "history": "https://history.example",
        "subprotocols": ["chatbot.v2", "chatbot.v1"],
        "auth": "none",
        "window": 7,
        "max_frame_bytes": 16 * 1024 * 1024,
        "max_text_bytes": 1000,
    }


async def test_without_an_address_of_its_own_history_is_where_chat_is() -> None:
    async with browser() as client:
        assert (await client.get("/.well-known/chatbot")).json()["history"] is None


@pytest.mark.parametrize("path", ["/", "/web/app.js", "/web/frameproto.js", "/web/style.css", "/web/widget.js"])
async def test_the_page_is_served_under_a_strict_policy(path: str) -> None:
    async with browser(
        public_history_url="https://history.example:8443/base", allowed_origins=("https://app.example", "null")
    ) as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' https://history.example:8443"
    assert policy["media-src"] == "'self' blob: https://history.example:8443"
    assert policy["frame-ancestors"] == "'self' https://app.example"
    assert policy["trusted-types"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("origins", "ancestors"),
    [
        ("capacitor://localhost,tauri://localhost", "capacitor://localhost tauri://localhost"),
        (
            "chrome-extension://abcdefghijklmnop,moz-extension://a-b",
            "chrome-extension://abcdefghijklmnop moz-extension://a-b",
        ),
        ("file://,null", "file:"),
        ("*", "* capacitor: ionic: tauri: app: chrome-extension: moz-extension: safari-web-extension: file:"),
    ],
)
async def test_apps_and_extensions_may_have_the_page_in_a_frame(origins: str, ancestors: str) -> None:
    async with browser(allowed_origins=tuple(origins.split(","))) as client:
        policy = (await client.get("/")).headers["content-security-policy"]
    assert f"frame-ancestors 'self' {ancestors};" in policy


async def test_the_page_asks_for_all_modules_at_once() -> None:
    async with browser() as client:
        page = (await client.get("/")).text
        preloaded = set(re.findall(r'rel="modulepreload" href="web/([^"]+)"', page))
        imported: set[str] = set()
        left = {"app.js"}
        while left:
            module = (await client.get(f"/web/{left.pop()}")).text
            found = set(re.findall(r'^(?:import|export|\}) .*from "\./([^"]+)";$', module, re.MULTILINE)) - imported
            imported |= found
            left |= found
    assert preloaded == imported
    assert "vendor/marked.esm.js" in preloaded


async def test_nothing_of_the_page_is_inline_or_from_elsewhere() -> None:
    async with browser() as client:
        page = (await client.get("/")).text
    assert "http://" not in page
    assert "https://" not in page
    assert "<script>" not in page
    assert " style=" not in page
    assert " onclick" not in page


async def test_a_file_that_did_not_change_is_not_sent_again() -> None:
    async with browser() as client:
        first = await client.get("/web/app.js")
        again = await client.get("/web/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_files_are_compressed_for_those_who_understand_that() -> None:
    async with browser() as client:
        packed = await client.get("/web/app.js", headers={"Accept-Encoding": "gzip"})
        plain = await client.get("/web/app.js", headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.js",
        "/app.js",
        "/web",
        "/web/",
        "/web/nothing.js",
        "/web/../settings.py",
        "/web/%2e%2e/pyproject.toml",
        "/web/%2e%2e/__init__.py",
        "/web/vendor",
        "/__init__.py",
    ],
)
async def test_only_the_files_of_the_page_are_served(path: str) -> None:
    async with browser() as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_a_handshake_at_a_path_that_is_not_there_is_denied() -> None:
    app = Starlette(routes=web_routes(ChatSettings(_env_file=None)))  # type: ignore[call-arg]
    install(app)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/conect",
        "root_path": "",
        "headers": [],
        "query_string": b"",
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 404


async def test_the_page_can_be_turned_off() -> None:
    async with browser(web=False) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/.well-known/chatbot")).status_code == 200


def test_the_address_of_history_must_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT_PUBLIC_HISTORY_URL", "history.example")
    with pytest.raises(SystemExit):
        load(ChatSettings, prog="chat", description="chat", argv=[])
    assert "CHAT_PUBLIC_HISTORY_URL" in capsys.readouterr().err
