"""Tokens for development: signed with the secret that the services check them by. Elsewhere an issuer makes them."""

import time
from datetime import timedelta
from typing import Final

MIN_SECRET_BYTES: Final = 32  # as long as the hash: RFC 7518, section 3.2
INGEST_SCOPE: Final = "ingest"
CONTEXT_SCOPE: Final = "context"


def mint(
    secret: str,
    *,
    subject: str,
    audience: str,
    lifetime: timedelta,
    scope: str | None = None,
    issuer: str | None = None,
) -> str:
    """Return a token (JWT, HS256) for `subject`, from now on.

    Raises:
        ValueError: the secret is too short for any service to take it.
    """
    import jwt  # noqa: PLC0415 - it loads cryptography, which no other command needs

    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret must have at least {MIN_SECRET_BYTES} bytes, as that of the services has")
    now = int(time.time())
    claims = {"sub": subject, "aud": audience, "iat": now, "exp": now + int(lifetime.total_seconds())}
    extra = {"scope": scope, "iss": issuer}
    return jwt.encode({**claims, **{name: value for name, value in extra.items() if value}}, secret, algorithm="HS256")
