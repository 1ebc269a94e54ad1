"""Tokens for simulated clients, signed with the first secret of the system."""

import os
from datetime import timedelta
from typing import Final

from servicekit.tokens import mint

SECRET: Final = "LOADTEST_TOKEN_SECRET"  # noqa: S105 - the name of a variable
AUDIENCE: Final = "LOADTEST_TOKEN_AUDIENCE"
LIFETIME: Final = timedelta(hours=2)


def token_of(client: str) -> str | None:
    """Return a token for a client; none when no secret is in the environment."""
    secret = os.environ.get(SECRET)
    if not secret:
        return None
    return mint(
        secret.split(",")[0].strip(), subject=client, audience=os.environ.get(AUDIENCE, "chatbot"), lifetime=LIFETIME
    )
