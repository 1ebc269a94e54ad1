"""An issuer of tokens: its keys, its key set, and what those who are not it would sign."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from servicekit.tokens import TokenKey

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key, the same for the same name."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    """Return a key on P-256, the same for the same name."""
    return ec.generate_private_key(ec.SECP256R1())


def algorithm_of(key: Private) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def jwk(key: Private, **more: Any) -> dict[str, Any]:
    """Return the public key as a member of a key set."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}


def pem(key: Private) -> bytes:
    """Return the public key as everybody can download it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def encoded(part: object) -> str:
    """Return one of the first two parts of a token, or the third from bytes."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """Signs tokens with one of its keys, by name."""

    keys: dict[str, Private] = field(default_factory=lambda: {"r1": rsa_key("r1"), "e1": ec_key("e1")})

    def key_set(self) -> bytes:
        """Return what it publishes."""
        return json.dumps({"keys": [jwk(key, kid=name, use="sig") for name, key in self.keys.items()]}).encode()

    def sign(self, claims: dict[str, Any], name: str = "r1", **header: Any) -> str:
        """Return a token; `kid=None` leaves the name of the key out."""
        key = self.keys[name]
        headers = {name: value for name, value in {"kid": name, **header}.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm_of(key), headers=headers)


class Published:
    """The keys of a set, without fetching; remembers what was asked for and is not there."""

    def __init__(self, keys: Mapping[tuple[str | None, str], TokenKey]) -> None:
        self._keys = keys
        self.missed: list[str | None] = []

    def find(self, key_id: str | None, algorithm: str) -> TokenKey | None:
        key = self._keys.get((key_id, algorithm))
        if key is None:
            self.missed.append(key_id)
        return key


def hmac_token(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token signed by HMAC with whatever bytes, as no library would do it."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
