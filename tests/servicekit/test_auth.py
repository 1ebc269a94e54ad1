"""From settings to an authenticator, with a real issuer over HTTP or a file."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from servicekit.auth import USUAL_LIMITS, KeySetLimits, open_authenticator
from servicekit.clock import utc_now
from servicekit.health import Health
from servicekit.settings import AccessSettings
from servicekit.tokens import Authenticator, KeysUnavailable, NoAuth, TokenError
from tests.support.issuer import Issuer, rsa_key

SECRET = "our secret, long enough for SHA-256"
CLAIMS = {"sub": "anna", "aud": "chatbot", "exp": int(utc_now().timestamp()) + 3600}
ISSUER = Issuer()

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TeaSettings(AccessSettings):
    model_config = SettingsConfigDict(env_prefix="TEA_")


def tea(**given: Any) -> TeaSettings:
    return TeaSettings(**given)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def opened(limits: KeySetLimits = USUAL_LIMITS, **settings: Any) -> AsyncIterator[tuple[Authenticator, Health]]:
    health = Health()
    async with open_authenticator(tea(auth="jwt", **settings), health, limits=limits) as authenticator:
        yield authenticator, health


async def until_ready(health: Health) -> None:
    async with asyncio.timeout(60):
        while not (await health.verdicts())["token_keys"].ok:  # noqa: ASYNC110 - a probe can only ask
            await asyncio.sleep(0.01)


def verdict(authenticator: Authenticator, token: str) -> str:
    """Return whose token it is, or why it is refused."""
    try:
        return authenticator.authenticate(token).subject
    except TokenError as exc:
        return exc.code


async def until(authenticator: Authenticator, token: str, expected: str) -> None:
    async with asyncio.timeout(60):
        while verdict(authenticator, token) != expected:  # noqa: ASYNC110 - keys come in the background
            await asyncio.sleep(0.01)


async def asked_twice(calls: list[str]) -> None:
    async with asyncio.timeout(60):
        while len(calls) < 2:  # noqa: ASYNC110 - the other side counts
            await asyncio.sleep(0.01)


@asynccontextmanager
async def publishing(answer: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve a key set; yields its address, and the paths that were asked for."""
    calls: list[str] = []

    async def counted(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        return await answer(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", counted)
    async with TestServer(application) as server:
        yield str(server.make_url("/keys")), calls


async def publish(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=ISSUER.key_set(), content_type="application/jwk-set+json")


async def test_tokens_of_an_issuer_count_when_its_keys_have_come() -> None:
    async with publishing(publish) as (url, _), opened(token_jwks_url=url) as (authenticator, health):
        await until_ready(health)
        assert authenticator.authenticate(ISSUER.sign(CLAIMS, "r1")).subject == "anna"
        assert authenticator.authenticate(ISSUER.sign(CLAIMS, "e1")).subject == "anna"


async def test_a_key_that_the_issuer_has_begun_to_use_is_fetched_in_the_background() -> None:
    issuer = Issuer()

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=issuer.key_set())

    async with (
        publishing(answer) as (url, calls),
        opened(KeySetLimits(cooldown_seconds=1), token_jwks_url=url) as (authenticator, health),
    ):
        await until_ready(health)
        issuer.keys["r2"] = rsa_key("r2")
        token = issuer.sign(CLAIMS, "r2")
        assert verdict(authenticator, token) == "token_key_unknown"
        await until(authenticator, token, "anna")
        assert calls == ["/keys"] * 2


async def moved(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere")


async def broken(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=500, body=ISSUER.key_set())


async def huge(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=ISSUER.key_set() + b" " * 5000)


async def packed(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(ISSUER.key_set()), headers={"Content-Encoding": "gzip"})


async def drips(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [moved, broken, huge, packed, drips])
async def test_an_issuer_that_misbehaves_gives_no_keys_and_is_asked_again(answer: Answer) -> None:
    async with (
        publishing(answer) as (url, calls),
        opened(KeySetLimits(fetch_seconds=0.2, max_bytes=4096), token_jwks_url=url) as (authenticator, health),
    ):
        await asked_twice(calls)
        assert not (await health.verdicts())["token_keys"].ok
        with pytest.raises(KeysUnavailable):
            authenticator.authenticate(ISSUER.sign(CLAIMS))
        assert set(calls) == {"/keys"}


async def test_without_an_issuer_in_reach_secrets_still_count() -> None:
    async with opened(token_jwks_url="http://127.0.0.1:1/keys", token_secrets=(SECRET,)) as (authenticator, health):
        token = Issuer.sign(Issuer(), CLAIMS)
        with pytest.raises(KeysUnavailable):
            authenticator.authenticate(token)
        assert not (await health.verdicts())["token_keys"].ok


async def test_a_file_is_read_again_when_it_is_old(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(ISSUER.key_set())
    settings = {"token_jwks_file": file, "token_jwks_refresh_seconds": 1}
    async with opened(KeySetLimits(cooldown_seconds=1), **settings) as (authenticator, health):
        await until_ready(health)
        token = ISSUER.sign(CLAIMS, "r1")
        assert authenticator.authenticate(token).subject == "anna"
        file.write_bytes(Issuer({"e1": ISSUER.keys["e1"]}).key_set())
        await until(authenticator, token, "token_key_unknown")
        assert authenticator.authenticate(ISSUER.sign(CLAIMS, "e1")).subject == "anna"


@pytest.mark.parametrize("content", [None, b"no keys", ISSUER.key_set() + b" " * 5000], ids=["none", "other", "large"])
async def test_a_file_without_keys_is_not_ready(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    async with opened(KeySetLimits(max_bytes=4096), token_jwks_file=file) as (_, health):
        await asyncio.sleep(0)
        verdict = (await health.verdicts())["token_keys"]
        assert (verdict.ok, verdict.reason) == (False, "not yet")


async def test_without_auth_nothing_is_fetched_and_nothing_waited_for() -> None:
    health = Health()
    settings = tea(token_jwks_url="http://127.0.0.1:1/keys")
    async with open_authenticator(settings, health) as authenticator:
        assert isinstance(authenticator, NoAuth)
        assert await health.verdicts() == {}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"auth": "jwt"}, "TEA_AUTH=jwt needs TEA_TOKEN_SECRETS, TEA_TOKEN_JWKS_URL or TEA_TOKEN_JWKS_FILE"),
        (
            {"token_jwks_url": "https://login.example/keys", "token_jwks_file": "keys.json"},
            "set TEA_TOKEN_JWKS_URL or TEA_TOKEN_JWKS_FILE, not both",
        ),
        ({"token_jwks_url": "http://login.example/keys"}, "must be an https address"),
        ({"token_jwks_url": "http://127.0.0.1.example/keys"}, "must be an https address"),
        ({"token_jwks_url": "https://a:b@login.example/keys"}, "without a name and a password"),
        ({"token_jwks_url": "file:///etc/passwd"}, "URL scheme should be"),
    ],
)
def test_settings_that_would_check_nothing_safely_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        tea(**settings)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://app.example", ("https://app.example",)),
        ("HTTPS://App.Example:443, http://localhost:5173", ("https://app.example", "http://localhost:5173")),
        ("http://[::1]:80", ("http://[::1]",)),
        ("*", ("*",)),
        ("", ()),
        ("capacitor://localhost, ionic://localhost", ("capacitor://localhost", "ionic://localhost")),
        ("tauri://localhost,http://tauri.localhost", ("tauri://localhost", "http://tauri.localhost")),
        ("chrome-extension://Abcdefghijklmnop", ("chrome-extension://abcdefghijklmnop",)),
        (
            "moz-extension://0197b0c8-0000-4000-8000-00000000000A",
            ("moz-extension://0197b0c8-0000-4000-8000-00000000000a",),
        ),
        ("app://bundle,app://.,app://", ("app://bundle", "app://.", "app://")),
        ("vscode-webview://x:80", ("vscode-webview://x:80",)),
        ("file://, null", ("file://", "null")),
    ],
)
def test_origins_are_kept_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch, given: str, kept: object) -> None:
    monkeypatch.setenv("TEA_ALLOWED_ORIGINS", given)
    assert tea().allowed_origins == kept


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://app.example/", "https://app.example/chat", "https://*.example", "NULL", "ftp://a", "//a",
     "https://a:b@app.example", "https://app.example:x", "https://app.example?", "https://", "wss://a.example",
     "data:x", "javascript://a", "capacitor:localhost", "capacitor://localhost/", "capacitor://a b", "1app://x", "http://"],
)  # fmt: skip
def test_what_no_browser_would_send_is_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError, match="must be an origin such as"):
        tea(allowed_origins=(origin,))
