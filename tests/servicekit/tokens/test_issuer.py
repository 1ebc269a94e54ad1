"""Tokens of an issuer: believed only when one of its published keys says so, by the algorithm of that key."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from servicekit.tokens import (
    JwtAuth,
    KeySetError,
    KeysUnavailable,
    Principal,
    TokenError,
    TokenKey,
    read_keys,
    shared_secret,
)
from tests.support.issuer import Issuer, Published, ec_key, encoded, hmac_token, jwk, pem, rsa_key

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
END = int(NOON.timestamp()) + 60
SECRET = "our secret, long enough for SHA-256"
ISSUER = Issuer()
STRANGER = Issuer({"r1": rsa_key("stranger"), "e1": ec_key("stranger")})
FINE = {"sub": "anna", "aud": "chatbot", "exp": END, "iss": "https://login.example"}


def auth(**options: Any) -> JwtAuth:
    published = Published(read_keys(ISSUER.key_set()))
    return JwtAuth(**{"audience": "chatbot", "public_keys": published, "now": lambda: NOON, **options})


def refusal(checks: JwtAuth, token: str) -> TokenError:
    with pytest.raises(TokenError) as refused:
        checks.authenticate(token)
    assert refused.value.status == 401
    return refused.value


@pytest.mark.parametrize("key", ["r1", "e1"])
def test_each_key_of_the_issuer_counts(key: str) -> None:
    who = auth().authenticate(ISSUER.sign(FINE, key))
    assert who == Principal("anna", expires_at=NOON + timedelta(seconds=60))


def test_secrets_and_an_issuer_count_side_by_side() -> None:
    both = auth(secrets=[SECRET])
    assert both.authenticate(ISSUER.sign({**FINE, "sub": "anna"})).subject == "anna"
    assert both.authenticate(jwt.encode({**FINE, "sub": "ben"}, SECRET)).subject == "ben"


def test_an_issuer_can_name_a_service() -> None:
    assert auth().authenticate(ISSUER.sign({**FINE, "sub": "chat", "scope": "ingest"})).may_ingest()


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        pytest.param({}, True, id="the one"),
        pytest.param({"iss": "https://login.example/"}, False, id="another by a slash"),
        pytest.param({"iss": None}, False, id="none"),
        pytest.param({"iss": ["https://login.example"]}, False, id="a list"),
    ],
)
def test_the_issuer_counts_where_one_is_named(claims: dict[str, Any], accepted: bool) -> None:
    merged = {name: value for name, value in {**FINE, **claims}.items() if value is not None}
    signed = jwt.PyJWS().encode(json.dumps(merged).encode(), SECRET, algorithm="HS256")
    checks = auth(secrets=[SECRET], issuer="https://login.example")
    if accepted:
        assert checks.authenticate(signed).subject == "anna"
    else:
        assert refusal(checks, signed).code == "token_invalid"


FORGERIES = [
    pytest.param(hmac_token(pem(rsa_key("r1")), {"alg": "HS256", "kid": "r1"}, FINE), id="HMAC by the public RSA key"),
    pytest.param(hmac_token(pem(ec_key("e1")), {"alg": "HS256", "kid": "e1"}, FINE), id="HMAC by the public EC key"),
    pytest.param(hmac_token(ISSUER.key_set(), {"alg": "HS256"}, FINE), id="HMAC by the published set"),
    pytest.param(hmac_token(b"", {"alg": "HS256", "kid": "../../dev/null"}, FINE), id="HMAC by an empty file"),
    pytest.param(hmac_token(pem(rsa_key("r1")), {"alg": "RS256", "kid": "r1"}, FINE), id="HMAC that says it is RSA"),
    pytest.param(STRANGER.sign(FINE, "r1"), id="a stranger's RSA key of the same name"),
    pytest.param(STRANGER.sign(FINE, "e1"), id="a stranger's EC key of the same name"),
    pytest.param(ISSUER.sign(FINE, "r1", crit=["exp"]), id="an extension that must be understood"),
    pytest.param(f"{encoded({'alg': 'none', 'kid': 'r1'})}.{encoded(FINE)}.", id="alg none"),
    pytest.param(f"{encoded({'alg': 'RS256', 'kid': 'r1'})}.{encoded(FINE)}.", id="no signature"),
    pytest.param(f"{encoded({'alg': 'ES256', 'kid': 'e1'})}.{encoded(FINE)}.{encoded(bytes(64))}", id="r = s = 0"),
    pytest.param(jwt.encode(FINE, rsa_key("r1"), "RS512", {"kid": "r1"}), id="another hash of the same key"),
    pytest.param(jwt.encode(FINE, rsa_key("r1"), "PS256", {"kid": "r1"}), id="another padding of the same key"),
]


@pytest.mark.parametrize("forged", FORGERIES)
@pytest.mark.parametrize("secrets", [[], [SECRET]], ids=["issuer alone", "with secrets"])
def test_forgeries_are_refused(forged: str, secrets: list[str]) -> None:
    assert refusal(auth(secrets=secrets), forged).code == "token_invalid"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"jwk": jwk(rsa_key("stranger"))}, id="brings its own key"),
        pytest.param({"jku": "http://127.0.0.1:1/keys"}, id="tells where keys are"),
        pytest.param({"x5u": "http://127.0.0.1:1/cert"}, id="tells where a certificate is"),
        pytest.param({"x5c": ["MIIB"]}, id="brings a certificate"),
    ],
)
def test_a_key_that_a_token_brings_along_is_not_looked_at(header: dict[str, Any]) -> None:
    assert refusal(auth(), STRANGER.sign(FINE, "r1", **header)).code == "token_invalid"


@pytest.mark.parametrize(
    "key_id",
    ["r2", "", "../../etc/passwd", "/dev/null", "http://127.0.0.1:1/keys", "' OR 1=1 --", "r1\0", "R1", "a" * 2000],
    ids=lambda key_id: key_id[:20] or "empty",
)
def test_an_unknown_key_is_only_looked_up(key_id: str) -> None:
    published = Published(read_keys(ISSUER.key_set()))
    refused = refusal(auth(public_keys=published), ISSUER.sign(FINE, "r1", kid=key_id))
    assert refused.code == "token_key_unknown"
    assert published.missed == [key_id]


def test_an_algorithm_that_the_named_key_does_not_have_is_an_unknown_key() -> None:
    assert refusal(auth(), STRANGER.sign(FINE, "r1", kid="e1")).code == "token_key_unknown"


def test_a_key_name_that_is_no_string_is_refused() -> None:
    token = f"{encoded({'alg': 'RS256', 'kid': ['r1']})}.{encoded(FINE)}.{encoded(bytes(256))}"
    assert refusal(auth(), token).code == "token_invalid"


def test_as_long_as_keys_have_not_come_nobody_is_told_that_a_token_is_bad() -> None:
    class Awaited:
        def find(self, key_id: str | None, algorithm: str) -> TokenKey | None:
            raise KeysUnavailable from LookupError(key_id, algorithm)

    checks = auth(public_keys=Awaited(), secrets=[SECRET])
    with pytest.raises(KeysUnavailable) as unknown:
        checks.authenticate(ISSUER.sign(FINE))
    assert (unknown.value.status, unknown.value.code) == (503, "token_keys_unavailable")
    assert unknown.value.headers["Retry-After"]
    assert checks.authenticate(jwt.encode(FINE, SECRET)).subject == "anna"
    assert refusal(checks, "garbled").code == "token_malformed"


@pytest.mark.parametrize("key", [rsa_key("r1"), ec_key("e1")], ids=["RSA", "EC"])
def test_a_public_key_is_no_secret(key: Any) -> None:
    with pytest.raises(ValueError, match="public key is no secret"):
        shared_secret(pem(key))


def kept(*members: object) -> list[tuple[str | None, str]]:
    return list(read_keys(json.dumps({"keys": members}).encode()))


def test_only_keys_that_may_verify_our_algorithms_are_kept() -> None:
    rsa_public, ec_public = jwk(rsa_key("r1")), jwk(ec_key("e1"))
    other_curve = jwk(ec.generate_private_key(ec.SECP384R1()))
    assert kept(
        {**rsa_public, "kid": "plain"},
        {**rsa_public, "kid": "named", "alg": "RS256", "use": "sig", "key_ops": ["verify"]},
        {**ec_public, "kid": "curve"},
        {**ec_public},
        {**rsa_public, "kid": "for encryption", "use": "enc"},
        {**rsa_public, "kid": "for signing only", "key_ops": ["sign"]},
        {**rsa_public, "kid": "another algorithm", "alg": "RS512"},
        {**rsa_public, "kid": "confused", "alg": "HS256"},
        {**jwk(rsa_key("weak", 1024)), "kid": "weak"},
        {**other_curve, "kid": "another curve"},
        {"kty": "oct", "kid": "secret", "k": encoded(SECRET.encode()), "alg": "HS256"},
        {**ec_public, "kid": "not on the curve", "x": encoded(bytes(32))},
        {**rsa_public, "kid": "half", "n": None},
        {**rsa_public, "kid": 7},
        {"kty": "RSA"},
    ) == [("plain", "RS256"), ("named", "RS256"), ("curve", "ES256"), (None, "ES256")]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"7", b'{"keys": 7}', b'{"keys": [7]}', b'{"keys": []}', b"\xff", b"[" * 100_000],
    ids=lambda raw: str(raw[:12]),
)
def test_what_is_no_key_set_is_told(raw: bytes) -> None:
    with pytest.raises(KeySetError):
        read_keys(raw)


def test_the_private_part_of_a_key_is_not_read() -> None:
    published = {**jwk(rsa_key("r1")), "kid": "r1", "d": "AQAB", "p": "AQAB", "q": "AQAB"}
    key = read_keys(json.dumps({"keys": [published]}).encode())["r1", "RS256"]
    assert not hasattr(key.material, "private_numbers")
