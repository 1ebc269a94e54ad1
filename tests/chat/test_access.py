"""A whole pod with tokens of an issuer, and pages of other origins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chat_service.app import ChatServer, open_chat
from chat_service.settings import ChatSettings
from servicekit.clock import utc_now
from tests.support.forgeries import ISSUER, claims

PAGE = "https://app.example"
QUERY = {"clientId": "anna", "timeZone": "UTC"}


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def opened(folder: Path, **more: Any) -> AsyncIterator[tuple[ChatServer, httpx2.AsyncClient]]:
    given: dict[str, Any] = {
        "data_dir": folder / "chat",
        "media_processes": 1,
        "history_url": "http://127.0.0.1:1",
        **more,
    }
    async with (
        open_chat(ChatSettings(**given)) as chat,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=chat.app), base_url="http://chat") as http,
    ):
        yield chat, http


async def test_a_pod_is_ready_when_the_keys_of_the_issuer_have_come(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    async with opened(tmp_path, auth="jwt", token_jwks_file=keys, history_token="token") as (_, http):
        headers = {"authorization": f"Bearer {ISSUER.sign(claims(utc_now()))}"}
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["token_keys"]) == (503, "not yet")
        denied = await http.get("/connect", params=QUERY, headers=headers)
        assert (denied.status_code, denied.json()["code"]) == (503, "token_keys_unavailable")
        keys.write_bytes(ISSUER.key_set())
        async with asyncio.timeout(60):
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - a probe can only ask
                await asyncio.sleep(0.01)
        assert (await http.get("/connect", params=QUERY, headers=headers)).json()["code"] == "upgrade_required"


async def test_an_allowed_page_can_read_what_a_handshake_would_meet(tmp_path: Path) -> None:
    async with opened(tmp_path, allowed_origins=PAGE) as (_, http):
        for origin, allowed in ((PAGE, True), ("https://evil.example", False)):
            answer = await http.get("/connect", params=QUERY, headers={"origin": origin})
            assert answer.json()["code"] == ("upgrade_required" if allowed else "origin_not_allowed")
            assert answer.headers.get("access-control-allow-origin") == (PAGE if allowed else None)
        asked = {
            "origin": PAGE,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        assert (await http.options("/connect", headers=asked)).status_code == 200
