"""Checks JSON Web Tokens (RFC 7519)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import jwt

from servicekit.clock import Now, utc_now
from servicekit.tokens.keys import HS256, PUBLIC_KEY_ALGORITHMS, PublicKeys, TokenKey, shared_secret
from servicekit.tokens.principal import CONTEXT_SCOPE, INGEST_SCOPE, Principal, TokenError, TokenErrorCode

MAX_TOKEN_LENGTH = 8192
TOKEN_MISSING = "this server asks for a token: send Authorization: Bearer ..., or give chat-client one by --token-file"  # noqa: S105


class JwtAuth:
    """Checks JSON Web Tokens signed with a shared secret, or by an issuer whose public keys are known.

    `sub` and `exp` must be present, `aud` must contain the audience, and `iss` must be the issuer, if one is given. The
    key determines the algorithm. The header of a token only selects among the configured keys.

    Args:
        secrets: the shared secrets; two during a rotation.
        audience: what `aud` must be or contain.
        issuer: what `iss` must be; None: anything.
        public_keys: the keys of an issuer.
        leeway_seconds: how much the clock of the issuer may differ.
        now: the wall clock.

    Raises:
        ValueError: there is neither a secret nor an issuer's keys, or a secret is too short.
    """

    def __init__(
        self,
        secrets: Sequence[str | bytes] = (),
        *,
        audience: str,
        issuer: str | None = None,
        public_keys: PublicKeys | None = None,
        leeway_seconds: float = 10.0,
        now: Now = utc_now,
    ) -> None:
        if not secrets and public_keys is None:
            raise ValueError("checking tokens needs at least one secret, or the keys of an issuer")
        self._secrets = tuple(shared_secret(secret) for secret in secrets)
        self._public_keys = public_keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = timedelta(seconds=leeway_seconds)
        self._now = now

    def authenticate(self, token: str | None) -> Principal:
        """Return the principal of a token.

        Raises:
            TokenError: `token_missing`, `token_malformed`, `token_expired`, `token_key_unknown` or `token_invalid`.
            KeysUnavailable: the keys of the issuer have not been fetched yet.
        """
        if not token:
            raise TokenError(TokenErrorCode.MISSING, TOKEN_MISSING)
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenError(TokenErrorCode.MALFORMED, "the token is too long")
        claims = self._verified(token)
        expires_at = _moment(claims, "exp")
        now = self._now()
        if now - self._leeway >= expires_at:
            raise TokenError(TokenErrorCode.EXPIRED, "the token has expired")
        if "nbf" in claims and now + self._leeway < _moment(claims, "nbf"):
            raise TokenError(TokenErrorCode.INVALID, "the token is not valid yet")
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise TokenError(TokenErrorCode.INVALID, "the token names no subject")
        scopes = _scopes(claims)
        return Principal(
            subject, service=INGEST_SCOPE in scopes, context=CONTEXT_SCOPE in scopes, expires_at=expires_at
        )

    def _verified(self, token: str) -> Mapping[str, object]:
        for key in self._candidates(_header(token)):
            try:
                return self._claims(token, key)
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
        raise TokenError(TokenErrorCode.INVALID, "the token was not signed by a key of this server")

    def _candidates(self, header: Mapping[str, object]) -> Sequence[TokenKey]:
        """Return the keys that may have signed a token. Its `kid` is only looked up, never used in an address."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == HS256:
            return self._secrets
        if self._public_keys is None or algorithm not in PUBLIC_KEY_ALGORITHMS:
            return ()
        key = self._public_keys.find(key_id if isinstance(key_id, str) else None, str(algorithm))
        if key is None:
            raise TokenError(TokenErrorCode.KEY_UNKNOWN, "the token was signed by a key that this server does not know")
        return (key,)

    def _claims(self, token: str, key: TokenKey) -> Mapping[str, object]:
        try:
            claims: dict[str, object] = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # Times are checked by our clock, which tests can set.
                options={
                    "require": ["sub", "exp", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            raise  # another key may fit
        except jwt.InvalidAudienceError as exc:
            raise TokenError(TokenErrorCode.INVALID, "the token is not meant for this server") from exc
        except jwt.InvalidIssuerError as exc:
            raise TokenError(TokenErrorCode.INVALID, "the token is not from the issuer of this server") from exc
        except jwt.MissingRequiredClaimError as exc:
            raise TokenError(TokenErrorCode.INVALID, f"the token has no claim {exc.claim}") from exc
        except (jwt.DecodeError, UnicodeError, RecursionError) as exc:
            raise TokenError(TokenErrorCode.MALFORMED, "the token is not a JSON Web Token") from exc
        except jwt.PyJWTError as exc:
            raise TokenError(TokenErrorCode.INVALID, "the token is not acceptable") from exc
        return claims


def _header(token: str) -> Mapping[str, object]:
    """Return the header of a token, which proves nothing."""
    try:
        header: dict[str, object] = jwt.get_unverified_header(token)
    except (jwt.DecodeError, UnicodeError, RecursionError) as exc:
        raise TokenError(TokenErrorCode.MALFORMED, "the token is not a JSON Web Token") from exc
    except jwt.PyJWTError as exc:
        raise TokenError(TokenErrorCode.INVALID, "the token is not acceptable") from exc
    if "crit" in header:  # extensions that must be understood (RFC 7515, section 4.1.11); there are none
        raise TokenError(TokenErrorCode.INVALID, "the token asks for extensions that this server does not have")
    return header


def _moment(claims: Mapping[str, object], name: str) -> datetime:
    value = claims[name]
    not_a_moment = TokenError(TokenErrorCode.INVALID, f"the claim {name} of the token is not a moment")
    # A bool is an int to Python, and no date.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise not_a_moment
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise not_a_moment from exc


def _scopes(claims: Mapping[str, object]) -> list[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise TokenError(TokenErrorCode.INVALID, "the claim scope of the token is not a string")
    return scope.split(" ")  # a space, and no other whitespace (RFC 6749, 3.3)
