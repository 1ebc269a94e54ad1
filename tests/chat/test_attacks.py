"""Attempts to talk as somebody else: each is refused before the upgrade, and takes no place."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from servicekit.clock import utc_now
from servicekit.tokens import INGEST_SCOPE, JwtAuth, KeysUnavailable, TokenKey, read_keys
from tests.chat.server_parts import RunningServer, open_server
from tests.support.forgeries import ISSUER, SECRET, claims, forgeries
from tests.support.issuer import Published

NOW = utc_now()


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    """A server that trusts a secret and an issuer."""
    auth = JwtAuth([SECRET], audience="chatbot", public_keys=Published(read_keys(ISSUER.key_set())))
    async with open_server(authenticator=auth) as opened:
        yield opened


async def refusal(server: RunningServer, client_id: str, **options: Any) -> tuple[int, str]:
    """Connect, and return why that was refused: the status, and the body."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server.url(f"clientId={client_id}&timeZone=UTC"), **options):
            pass
    return refused.value.response.status_code, bytes(refused.value.response.body or b"").decode()


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


@pytest.mark.parametrize("what", list(forgeries(NOW)))
async def test_a_forged_token_does_not_connect(server: RunningServer, what: str) -> None:
    token = forgeries(utc_now())[what]
    status, body = await refusal(server, "anna", **bearer(token))
    assert status == 401
    assert '"code":"token_' in body
    assert token not in body
    assert (await server.connections.state()).high_water == 0


@pytest.mark.parametrize(
    "what", ["alg none", "the public key as a secret", "expired", "a stranger's key of the same name"]
)
async def test_nor_does_it_in_a_subprotocol(server: RunningServer, what: str) -> None:
    token = forgeries(utc_now())[what]
    status, _ = await refusal(server, "anna", subprotocols=["chatbot.v1", f"bearer.{token}"])
    assert status == 401


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(NOW, "ben"), SECRET),
        jwt.encode(claims(NOW, "Anna"), SECRET),
        jwt.encode(claims(NOW, "anna "), SECRET),
        jwt.encode(claims(NOW, "chat", scope=INGEST_SCOPE), SECRET),
        jwt.encode(claims(NOW, "anna", scope=INGEST_SCOPE), SECRET),
        ISSUER.sign(claims(NOW, "ben")),
    ],
    ids=["ben", "capital", "space", "service", "service called anna", "ben of the issuer"],
)
async def test_a_good_token_connects_nobody_else(server: RunningServer, token: str) -> None:
    status, body = await refusal(server, "anna", **bearer(token))
    assert status == 403
    assert "client_not_yours" in body
    assert (await server.connections.state()).high_water == 0


@pytest.mark.parametrize(
    "client_id", ["anna%00", "anna%0a", "ben%2f..%2fanna", "ben&clientId=anna", "%2561nna", "anna%20"]
)
async def test_no_trick_with_the_client_id_makes_two_of_one(server: RunningServer, client_id: str) -> None:
    token = jwt.encode(claims(NOW, "anna"), SECRET)
    status, body = await refusal(server, client_id, **bearer(token))
    assert status == 400
    assert "client_id_malformed" in body


@pytest.mark.parametrize("parameter", ["token", "access_token", "bearer", "authorization"])
async def test_a_token_in_the_address_is_not_looked_at(server: RunningServer, parameter: str) -> None:
    token = jwt.encode(claims(NOW, "anna"), SECRET)
    status, body = await refusal(server, f"anna&{parameter}={token}")
    assert status == 401
    assert "token_missing" in body


@pytest.mark.parametrize("key", ["r1", "e1"])
async def test_a_token_of_the_issuer_does_connect(server: RunningServer, key: str) -> None:
    async with server.visit("anna", **bearer(ISSUER.sign(claims(NOW, "anna"), key))) as chat:
        assert chat.response is not None
        assert chat.response.headers["chatbot-session"]


async def test_while_keys_have_not_come_a_client_is_asked_to_come_again() -> None:
    class Awaited:
        def find(self, key_id: str | None, algorithm: str) -> TokenKey | None:
            raise KeysUnavailable from LookupError(key_id, algorithm)

    async with open_server(authenticator=JwtAuth(audience="chatbot", public_keys=Awaited())) as server:
        status, body = await refusal(server, "anna", **bearer(ISSUER.sign(claims(NOW, "anna"))))
        assert status == 503
        assert "token_keys_unavailable" in body


async def test_a_token_that_will_be_good_is_not_good_yet(server: RunningServer) -> None:
    soon = int((utc_now() + timedelta(hours=1)).timestamp())
    status, _ = await refusal(server, "anna", **bearer(jwt.encode(claims(NOW, nbf=soon, exp=soon + 60), SECRET)))
    assert status == 401
