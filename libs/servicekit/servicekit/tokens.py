"""Who asks: bearer tokens, checked into a `Principal`.

A principal (who asks) is a thing of its own, apart from the client id (whose data): services ask
`principal.may_act_for(client_id)` and `principal.may_ingest()` and know nothing of tokens. Today tokens are
JWTs signed with a shared secret (HS256); another kind of key is another `TokenKey`, another source of identity
another `Authenticator`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import jwt
from starlette.requests import HTTPConnection

from servicekit.clock import Now, utc_now
from servicekit.problems import Problem

INGEST_SCOPE = "ingest"
SUBPROTOCOL_PREFIX = "bearer."
MIN_SECRET_BYTES = 32
"""A shared secret has at least the length of the hash (RFC 7518, section 3.2)."""

MAX_TOKEN_LENGTH = 8192

_HS256 = "HS256"


class TokenError(Problem):
    """The token does not tell who asks: 401, with the challenge of RFC 6750."""

    def __init__(self, code: str, detail: str) -> None:
        challenge = (
            "Bearer" if code == "token_missing" else f'Bearer error="invalid_token", error_description="{detail}"'
        )
        super().__init__(401, code, detail, headers={"www-authenticate": challenge})


class AccessDenied(Problem):
    """It is known who asks, and they may not: 403."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, "access_denied", detail)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        subject: the client id of a client, or the name of a service.
        service: a service of ours, which may hand in exchanges and nothing else.
        expires_at: when what proves it ends (aware, UTC); None when never.
        unchecked: nobody checks tokens here, so everything is allowed.
    """

    subject: str
    service: bool = False
    expires_at: datetime | None = None
    unchecked: bool = False

    def may_act_for(self, client_id: str) -> bool:
        """Say whether this principal may connect as, and read and change the data of, `client_id`."""
        return self.unchecked or (not self.service and self.subject == client_id)

    def may_ingest(self) -> bool:
        """Say whether this principal may hand in exchanges."""
        return self.unchecked or self.service

    def require_client(self, client_id: str) -> None:
        """Pass when it may act for `client_id`.

        Raises:
            AccessDenied: it may not.
        """
        if not self.may_act_for(client_id):
            raise AccessDenied("this token is not for that client id")

    def require_ingest(self) -> None:
        """Pass when it may hand in exchanges.

        Raises:
            AccessDenied: it may not.
        """
        if not self.may_ingest():
            raise AccessDenied(f'handing in exchanges needs a token with the scope "{INGEST_SCOPE}"')


class Authenticator(Protocol):
    """Tells from a token who asks. It does no I/O: keys are fetched beforehand."""

    def authenticate(self, token: str | None) -> Principal:
        """Return who asks.

        Raises:
            TokenError: the token is missing or not to be trusted.
        """
        ...


class NoAuth:
    """Believes everyone: for a laptop, or behind something that checks already."""

    def authenticate(self, token: str | None) -> Principal:  # noqa: ARG002 - the interface's parameter
        """Return a principal that may do everything, whatever the token."""
        return Principal("anonymous", unchecked=True)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that verifies tokens, bound to the one algorithm it is for (never the one a token claims)."""

    algorithm: str
    material: bytes = field(repr=False)


def shared_secret(secret: str | bytes) -> TokenKey:
    """Return `secret` as the key of HS256 tokens.

    Raises:
        ValueError: it is shorter than the hash, so it could be guessed.
    """
    material = secret.encode() if isinstance(secret, str) else secret
    if len(material) < MIN_SECRET_BYTES:
        raise ValueError(
            f"a token secret must be at least {MIN_SECRET_BYTES} bytes long (this one has {len(material)})"
        )
    return TokenKey(_HS256, material)


class JwtAuth:
    """Checks JSON Web Tokens (RFC 7519) signed with one of our secrets.

    `sub` and `exp` must be there, `aud` must name us, the algorithm is fixed by the key.

    Args:
        secrets: the secrets that may have signed; two while they are being rotated.
        audience: what `aud` must be or hold.
        leeway_seconds: how far the clock of the issuer may be off.
        now: the wall clock.

    Raises:
        ValueError: there is no secret, or one is too short.
    """

    def __init__(
        self,
        secrets: Sequence[str | bytes],
        *,
        audience: str,
        leeway_seconds: float = 10.0,
        now: Now = utc_now,
    ) -> None:
        if not secrets:
            raise ValueError("checking tokens needs at least one secret")
        self._keys = tuple(shared_secret(secret) for secret in secrets)
        self._audience = audience
        self._leeway = timedelta(seconds=leeway_seconds)
        self._now = now

    def authenticate(self, token: str | None) -> Principal:
        """Return who asks.

        Raises:
            TokenError: `token_missing`, `token_malformed`, `token_expired` or `token_invalid`.
        """
        if not token:
            raise TokenError("token_missing", "this server asks for a token (Authorization: Bearer ...)")
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenError("token_malformed", "the token is too long")
        claims = self._verified(token)
        expires_at = _moment(claims, "exp")
        now = self._now()
        if now - self._leeway >= expires_at:
            raise TokenError("token_expired", "the token has expired")
        if "nbf" in claims and now + self._leeway < _moment(claims, "nbf"):
            raise TokenError("token_invalid", "the token is not valid yet")
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise TokenError("token_invalid", "the token names no subject")
        return Principal(subject, service=INGEST_SCOPE in _scopes(claims), expires_at=expires_at)

    def _verified(self, token: str) -> Mapping[str, object]:
        for key in self._keys:
            try:
                return _decode(token, key, self._audience)
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
        raise TokenError("token_invalid", "the token was not signed by a key of this server")


def mint(
    secret: str | bytes,
    *,
    subject: str,
    audience: str,
    lifetime: timedelta,
    scope: str | None = None,
    now: Now = utc_now,
) -> str:
    """Sign a token for `subject`: a client, or with `scope="ingest"` a service.

    Raises:
        ValueError: the secret is too short, the subject is empty or the lifetime is not positive.
    """
    key = shared_secret(secret)
    if not subject:
        raise ValueError("a token needs a subject")
    if lifetime <= timedelta():
        raise ValueError("a token needs a positive lifetime")
    issued_at = now()
    claims: dict[str, object] = {
        "sub": subject,
        "aud": audience,
        "iat": math.floor(issued_at.timestamp()),
        "exp": math.ceil((issued_at + lifetime).timestamp()),
    }
    if scope is not None:
        claims["scope"] = scope
    return jwt.encode(claims, key.material, algorithm=key.algorithm)


def bearer_token(connection: HTTPConnection) -> str | None:
    """Return the token that came with a request or a WebSocket handshake, or None.

    It is taken from `Authorization: Bearer ...`, or, for browsers, from a subprotocol `bearer.<token>`; never
    from the query, which would stand in access logs.

    Raises:
        TokenError: `token_malformed`: another scheme, or more than one token.
    """
    headers = connection.headers.getlist("authorization")
    if headers:
        scheme, _, token = headers[0].partition(" ")
        token = token.strip()
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or " " in token:
            raise TokenError("token_malformed", "the Authorization header must be: Bearer, a space, the token")
        return token
    offered: list[str] = connection.scope.get("subprotocols", [])
    tokens = [name.removeprefix(SUBPROTOCOL_PREFIX) for name in offered if name.startswith(SUBPROTOCOL_PREFIX)]
    if len(tokens) > 1:
        raise TokenError("token_malformed", "offer one bearer subprotocol only")
    return tokens[0] if tokens else None


def _decode(token: str, key: TokenKey, audience: str) -> Mapping[str, object]:
    try:
        claims: dict[str, object] = jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],
            audience=audience,
            # Moments are compared by the caller's clock, not by the library's.
            options={
                "require": ["sub", "exp", "aud"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
        raise  # another key may fit
    except jwt.InvalidAudienceError as error:
        raise TokenError("token_invalid", "the token is not meant for this server") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenError("token_invalid", f"the token has no claim {error.claim}") from error
    except (jwt.DecodeError, UnicodeError, RecursionError) as error:
        raise TokenError("token_malformed", "the token is not a JSON Web Token") from error
    except jwt.PyJWTError as error:
        raise TokenError("token_invalid", "the token is not acceptable") from error
    return claims


def _moment(claims: Mapping[str, object], name: str) -> datetime:
    value = claims[name]
    not_a_moment = TokenError("token_invalid", f"the claim {name} of the token is not a moment")
    # A bool is an int to Python, and no date.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise not_a_moment
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise not_a_moment from error


def _scopes(claims: Mapping[str, object]) -> list[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise TokenError("token_invalid", "the claim scope of the token is not a string")
    return scope.split()
