"""Makes the authenticator that the settings describe, with the task that refreshes an issuer's keys."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from servicekit.clock import Now, utc_now
from servicekit.health import Health
from servicekit.settings import AccessSettings
from servicekit.tasks import background
from servicekit.tokens import Authenticator, JwtAuth, KeySet, NoAuth
from servicekit.tokens.key_set import Fetch
from servicekit.tokens.key_sources import from_file, from_url


@dataclass(frozen=True, slots=True)
class KeySetLimits:
    """Bounds for fetching the keys of an issuer.

    Attributes:
        cooldown_seconds: the least time between fetches caused by tokens with unknown keys.
        fetch_seconds: how long the issuer may take to answer.
        max_bytes: the largest key set that is read.
    """

    cooldown_seconds: float = 10.0
    fetch_seconds: float = 5.0
    max_bytes: int = 256 * 1024


USUAL_LIMITS: Final = KeySetLimits()


@asynccontextmanager
async def open_authenticator(
    settings: AccessSettings, health: Health, *, now: Now = utc_now, limits: KeySetLimits = USUAL_LIMITS
) -> AsyncIterator[Authenticator]:
    """Yield an authenticator. With an issuer, the service is ready only after the first fetch of its keys.

    Args:
        settings: which tokens are accepted.
        health: gets the readiness check `token_keys`.
        now: the wall clock.
        limits: bounds for fetching keys.
    """
    if settings.auth == "none":
        yield NoAuth()
        return
    async with AsyncExitStack() as stack:
        fetch = await _source(settings, limits, stack)
        key_set = None
        if fetch is not None:
            key_set = KeySet(
                fetch,
                refresh_seconds=settings.token_jwks_refresh_seconds,
                cooldown_seconds=limits.cooldown_seconds,
            )
            health.register("token_keys", key_set.ready)
            await stack.enter_async_context(background(key_set.run(), name="token keys"))
        yield JwtAuth(
            [secret.get_secret_value() for secret in settings.token_secrets],
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            public_keys=key_set,
            leeway_seconds=settings.token_leeway_seconds,
            now=now,
        )


async def _source(settings: AccessSettings, limits: KeySetLimits, stack: AsyncExitStack) -> Fetch | None:
    if settings.token_jwks_file is not None:
        return from_file(settings.token_jwks_file, max_bytes=limits.max_bytes)
    if settings.token_jwks_url is None:
        return None
    # No decompression: a small response must not become a large one.
    http = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True, auto_decompress=False))
    return from_url(http, str(settings.token_jwks_url), seconds=limits.fetch_seconds, max_bytes=limits.max_bytes)
