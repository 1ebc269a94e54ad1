"""Checks of a shared secret: it is long enough, and not a public key."""

from typing import Final

MIN_SECRET_BYTES: Final = 32
"""A shared secret has at least the length of the hash (RFC 7518, section 3.2)."""

_PUBLIC_KEY_BEGINNINGS: Final = (b"-----BEGIN ", b"ssh-", b"ecdsa-")


def check_secret(secret: bytes) -> bytes:
    """Return a secret that can sign tokens.

    Raises:
        ValueError: it is shorter than the hash, so it could be guessed, or it is a public key, so everybody has it.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"a token secret must be at least {MIN_SECRET_BYTES} bytes long (this one has {len(secret)})")
    if secret.lstrip().startswith(_PUBLIC_KEY_BEGINNINGS):
        raise ValueError("a token secret must be random bytes, not a key of another kind: a public key is no secret")
    return secret
