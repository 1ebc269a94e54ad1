"""Signs tokens, for tests and development. In production an issuer does that."""

import math
from datetime import timedelta

import jwt

from servicekit.clock import Now, utc_now
from servicekit.tokens.keys import HS256, shared_secret


def mint(
    secret: str | bytes,
    *,
    subject: str,
    audience: str,
    lifetime: timedelta,
    scope: str | None = None,
    issuer: str | None = None,
    now: Now = utc_now,
) -> str:
    """Sign a token for `subject`: a client, or with `scope="ingest"` a service.

    Raises:
        ValueError: the secret is too short, the subject is empty or the lifetime is not positive.
    """
    shared_secret(secret)
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
    if issuer is not None:
        claims["iss"] = issuer
    return jwt.encode(claims, secret, algorithm=HS256)


def ends_at(token: str) -> float | None:
    """Return the expiry that a token claims, in seconds since 1970; None: it has none, or is not a token.

    Nothing is checked. A service uses it to report how long its own token is valid.
    """
    try:
        end = jwt.decode(token, options={"verify_signature": False}).get("exp")
    except jwt.PyJWTError:
        return None
    return float(end) if isinstance(end, int | float) else None
