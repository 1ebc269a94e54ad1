"""The keys that verify tokens. Each has one algorithm, whatever a token claims."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from servicekit.problems import Problem
from servicekit.secrets import check_secret

HS256, RS256, ES256 = "HS256", "RS256", "ES256"
PUBLIC_KEY_ALGORITHMS = (RS256, ES256)

MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""


class KeySetError(Exception):
    """The keys of an issuer cannot be fetched, or are no keys."""


class KeysUnavailable(Problem):
    """The keys of the issuer have not come yet: 503, because the token may well be good."""

    def __init__(self) -> None:
        detail = "the keys that check tokens are not there yet"
        super().__init__(503, "token_keys_unavailable", detail, headers={"Retry-After": "2"})


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that verifies tokens."""

    algorithm: str
    material: bytes | RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


Keys = Mapping[tuple[str | None, str], TokenKey]
"""Public keys by their id (`kid`) and algorithm."""


class PublicKeys(Protocol):
    """The public keys of an issuer. Looking one up does no I/O."""

    def find(self, key_id: str | None, algorithm: str) -> TokenKey | None:
        """Return the key that a token names; None: it is unknown.

        Raises:
            KeysUnavailable: no keys have been fetched yet.
        """
        ...


def shared_secret(secret: str | bytes) -> TokenKey:
    """Return `secret` as the key of HS256 tokens.

    Raises:
        ValueError: it is not safe; see `servicekit.secrets`.
    """
    return TokenKey(HS256, check_secret(secret.encode() if isinstance(secret, str) else secret))


def read_keys(raw: bytes) -> Keys:
    """Read a JSON Web Key Set (RFC 7517). Keys that cannot verify RS256 or ES256 are ignored.

    Raises:
        KeySetError: it is not a key set, or no key is left.
    """
    try:
        members = json.loads(raw)["keys"]
        found = [(member.get("kid"), key) for member in members if (key := _public_key(member)) is not None]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise KeySetError("this is not a JSON Web Key Set") from exc
    if not found:
        raise KeySetError(f"no key in it verifies {' or '.join(PUBLIC_KEY_ALGORITHMS)}")
    return {(key_id, key.algorithm): key for key_id, key in found}


def _public_key(member: dict[str, Any]) -> TokenKey | None:
    """Return a key of a set; None: it can't be used. Private members are never read."""
    if member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
        return None
    if not isinstance(member.get("kid", ""), str):
        return None
    names: tuple[str, ...]
    match member.get("kty"), member.get("crv"), member.get("alg"):
        case "RSA", _, None | "RS256":
            algorithm, names = RS256, ("kty", "n", "e")
        case "EC", "P-256", None | "ES256":
            algorithm, names = ES256, ("kty", "crv", "x", "y")
        case _:
            return None
    try:
        # Key by key and not as a jwt.PyJWKSet, which fails as a whole if one point is not on its curve.
        key = jwt.PyJWK({name: member[name] for name in names}, algorithm).key
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return None
    return None if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS else TokenKey(algorithm, key)
