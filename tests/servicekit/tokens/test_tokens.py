"""Tokens: who asks is believed only when a key of ours says so."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from servicekit.tokens import (
    MAX_TOKEN_LENGTH,
    AccessDenied,
    JwtAuth,
    NoAuth,
    Principal,
    TokenError,
    bearer_token,
    mint,
    shared_secret,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOON_SECONDS = int(NOON.timestamp())
OURS = "our secret, long enough for SHA-256"
OLD = "the old secret, long enough for SHA-256"
THEIRS = "their secret, long enough for SHA-256"
FINE = {"sub": "anna", "aud": "chatbot", "exp": NOON_SECONDS + 60}


def at_noon() -> datetime:
    return NOON


AUTH = JwtAuth([OURS], audience="chatbot", now=at_noon)


def token(key: str = OURS, algorithm: str = "HS256", /, **changed: Any) -> str:
    """A token that is fine, with some claims changed; None removes one."""
    merged: dict[str, Any] = {**FINE, **changed}
    claims = {name: value for name, value in merged.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm)


def raw_token(header: object, claims: object, signature: bytes = b"") -> str:
    return ".".join(map(part, (json.dumps(header).encode(), json.dumps(claims).encode(), signature)))


def part(raw: bytes) -> str:
    """One of the three parts of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_token_of_ours_tells_who_asks_and_until_when() -> None:
    who = AUTH.authenticate(token())
    assert who == Principal("anna", service=False, expires_at=NOON + timedelta(seconds=60))


@pytest.mark.parametrize("audience", ["chatbot", ["metrics", "chatbot"]])
def test_the_audience_may_be_one_of_several(audience: object) -> None:
    assert AUTH.authenticate(token(aud=audience)).subject == "anna"


def test_a_minted_token_is_accepted_until_it_ends() -> None:
    minted = mint(OURS, subject="anna", audience="chatbot", lifetime=timedelta(minutes=5), now=at_noon)
    assert AUTH.authenticate(minted) == Principal("anna", expires_at=NOON + timedelta(minutes=5))


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        pytest.param(None, "token_missing", id="no token"),
        pytest.param("", "token_missing", id="an empty token"),
        pytest.param("a" * (MAX_TOKEN_LENGTH + 1), "token_malformed", id="too long"),
        pytest.param("abc", "token_malformed", id="no parts"),
        pytest.param("a.b.c", "token_malformed", id="parts that are nothing"),
        pytest.param("é.é.é", "token_malformed", id="not ASCII"),
        pytest.param("\ud800.b.c", "token_malformed", id="not Unicode"),
        pytest.param(raw_token([], {}), "token_malformed", id="a header that is a list"),
        pytest.param(part(b"[" * 4000) + ".e30.", "token_malformed", id="a header that is an abyss"),
        pytest.param(token(THEIRS), "token_invalid", id="another key"),
        pytest.param(token()[:-2] + "AA", "token_invalid", id="a forged signature"),
        pytest.param(token(OURS * 2, "HS512"), "token_invalid", id="another algorithm"),
        pytest.param(raw_token({"alg": "none"}, FINE), "token_invalid", id="algorithm none"),
        pytest.param(raw_token({"alg": "None", "typ": "JWT"}, FINE), "token_invalid", id="algorithm None"),
        pytest.param(raw_token({"alg": ["HS256"]}, FINE), "token_invalid", id="algorithms in a list"),
        pytest.param(raw_token({"alg": "RS256"}, FINE, b"x" * 256), "token_invalid", id="a public key"),
        pytest.param(raw_token({}, FINE), "token_invalid", id="no algorithm"),
        pytest.param(token(exp=None), "token_invalid", id="without an end"),
        pytest.param(token(sub=None), "token_invalid", id="about nobody"),
        pytest.param(token(aud=None), "token_invalid", id="for nobody"),
        pytest.param(token(aud="billing"), "token_invalid", id="for another server"),
        pytest.param(token(aud=["billing"]), "token_invalid", id="for other servers"),
        pytest.param(token(aud={"chatbot": 1}), "token_invalid", id="an audience that is an object"),
        pytest.param(token(sub=""), "token_invalid", id="an empty subject"),
        pytest.param(token(exp=NOON_SECONDS - 10), "token_expired", id="expired"),
        pytest.param(token(exp="tomorrow"), "token_invalid", id="an end that is a string"),
        pytest.param(token(exp=True), "token_invalid", id="an end that is true"),
        pytest.param(token(exp=1e300), "token_invalid", id="an end too far away"),
        pytest.param(token(exp=float("nan")), "token_invalid", id="an end that is not a number"),
        pytest.param(token(nbf=NOON_SECONDS + 11), "token_invalid", id="not valid yet"),
        pytest.param(token(nbf="now"), "token_invalid", id="a beginning that is a string"),
        pytest.param(token(scope=["ingest"]), "token_invalid", id="a scope that is a list"),
    ],
)
def test_what_does_not_prove_who_asks_is_401_with_a_challenge(shown: str | None, code: str) -> None:
    with pytest.raises(TokenError) as refused:
        AUTH.authenticate(shown)
    assert (refused.value.status, refused.value.code) == (401, code)
    challenge = refused.value.headers["www-authenticate"]
    assert challenge.startswith("Bearer")
    assert challenge.isascii()
    assert not shown or shown not in str(refused.value.body())


def test_a_subject_that_is_not_a_string_is_refused() -> None:
    signed = jwt.PyJWS().encode(json.dumps({**FINE, "sub": 7}).encode(), OURS, algorithm="HS256")
    with pytest.raises(TokenError) as refused:
        AUTH.authenticate(signed)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'"anna"', b"{", b"\xff", b"null", b"[" * 2000], ids=lambda raw: raw[:9]
)
def test_signed_rubbish_is_refused(payload: bytes) -> None:
    with pytest.raises(TokenError):
        AUTH.authenticate(jwt.PyJWS().encode(payload, OURS, algorithm="HS256"))


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: part(raw) + ".e30."))
def test_whatever_is_shown_there_is_an_answer(shown: str) -> None:
    with pytest.raises(TokenError):
        AUTH.authenticate(shown)


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        pytest.param({"exp": NOON_SECONDS - 9}, True, id="just expired"),
        pytest.param({"exp": NOON_SECONDS - 10}, False, id="expired longer than clocks differ"),
        pytest.param({"nbf": NOON_SECONDS + 10}, True, id="almost valid"),
        pytest.param({"nbf": NOON_SECONDS + 11}, False, id="not valid yet"),
        pytest.param({"iat": NOON_SECONDS + 1000}, True, id="when it was issued does not matter"),
    ],
)
def test_clocks_may_differ_a_little(claims: dict[str, int], accepted: bool) -> None:
    shown = token(**claims)
    if accepted:
        assert AUTH.authenticate(shown).subject == "anna"
    else:
        with pytest.raises(TokenError):
            AUTH.authenticate(shown)


@pytest.mark.parametrize("key", [OURS, OLD])
def test_while_secrets_are_rotated_both_count(key: str) -> None:
    assert JwtAuth([OURS, OLD], audience="chatbot", now=at_noon).authenticate(token(key)).subject == "anna"


@pytest.mark.parametrize(
    ("scope", "service"),
    [(None, False), ("", False), ("ingest", True), ("read ingest", True), ("ingestion", False), ("INGEST", False)]
    + [(f"read{space}ingest", False) for space in ("\t", "\n", "\r", "\x1c", "\x85", "\xa0", "\u2003", "\u3000")],
)
def test_only_the_scope_makes_a_service(scope: str | None, service: bool) -> None:
    assert AUTH.authenticate(token(scope=scope)).service is service


@pytest.mark.parametrize(
    ("who", "anna", "ingest"),
    [
        pytest.param(Principal("anna"), True, False, id="the client itself"),
        pytest.param(Principal("bert"), False, False, id="another client"),
        pytest.param(Principal("chat", service=True), False, True, id="a service"),
        pytest.param(Principal("anna", service=True), False, True, id="a service of the same name"),
        pytest.param(NoAuth().authenticate(None), True, True, id="where nobody checks"),
    ],
)
def test_clients_and_services_may_each_do_their_own(who: Principal, anna: bool, ingest: bool) -> None:
    assert (who.may_act_for("anna"), who.may_ingest()) == (anna, ingest)
    for allowed, require in ((anna, lambda: who.require_client("anna")), (ingest, who.require_ingest)):
        _must(allowed, require)


def _must(allowed: bool, require: Callable[[], None]) -> None:
    if allowed:
        require()
        return
    with pytest.raises(AccessDenied) as refused:
        require()
    assert (refused.value.status, refused.value.code) == (403, "access_denied")


@pytest.mark.parametrize("secrets", [[], ["short"], [OURS, "x" * 31]])
def test_weak_secrets_are_refused_without_being_shown(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="secret") as refused:
        JwtAuth(secrets, audience="chatbot")
    assert not any(secret in str(refused.value) for secret in secrets)


@pytest.mark.parametrize(
    "wrong", [{"subject": ""}, {"lifetime": timedelta()}, {"secret": "short"}], ids=["subject", "lifetime", "secret"]
)
def test_no_token_is_minted_that_nobody_would_take(wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"secret": OURS, "subject": "anna", "lifetime": timedelta(hours=1), **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        mint(options.pop("secret"), audience="chatbot", **options)


def test_a_key_does_not_show_itself() -> None:
    assert OURS not in repr(shared_secret(OURS))


def connection(*authorization: str, subprotocols: tuple[str, ...] = ()) -> HTTPConnection:
    headers = [(b"authorization", value.encode()) for value in authorization]
    scope = {"type": "websocket", "headers": headers, "query_string": b"token=t0&access_token=t0"}
    return HTTPConnection({**scope, "subprotocols": list(subprotocols)})


@pytest.mark.parametrize(
    ("came", "found"),
    [
        pytest.param(connection("Bearer t1"), "t1", id="header"),
        pytest.param(connection("bearer  t1 "), "t1", id="the case of the scheme does not matter"),
        pytest.param(connection(subprotocols=("chatbot.v1", "bearer.t1")), "t1", id="subprotocol"),
        pytest.param(connection(subprotocols=("chatbot.v1",)), None, id="never from the query"),
    ],
)
def test_where_a_token_is_looked_for(came: HTTPConnection, found: str | None) -> None:
    assert bearer_token(came) == found


@pytest.mark.parametrize(
    "came",
    [
        pytest.param(connection("Basic YW5uYQ=="), id="another scheme"),
        pytest.param(connection("Bearer"), id="no token"),
        pytest.param(connection("t1"), id="no scheme"),
        pytest.param(connection("Bearer t1 t2"), id="two tokens"),
        pytest.param(connection("Bearer t1", "Bearer t1"), id="two headers"),
        pytest.param(connection("Bearer t1", subprotocols=("bearer.t1",)), id="a header and a subprotocol"),
        pytest.param(
            connection("Basic YW5uYQ==", subprotocols=("bearer.t1",)), id="another scheme beside a subprotocol"
        ),
        pytest.param(connection(subprotocols=("bearer.t1", "bearer.t2")), id="two subprotocols"),
    ],
)
def test_what_is_not_one_bearer_token_is_refused(came: HTTPConnection) -> None:
    with pytest.raises(TokenError) as refused:
        bearer_token(came)
    assert refused.value.code == "token_malformed"
