"""From settings to an authenticator: with the task that keeps the keys of an issuer fresh, where there is one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from servicekit.clock import Now, utc_now
from servicekit.health import Health
from servicekit.settings import AccessSettings
from servicekit.tasks import background
from servicekit.tokens import Authenticator, JwtAuth, KeySet, NoAuth
from servicekit.tokens.key_set import Fetch
from servicekit.tokens.key_sources import from_file, from_url


@asynccontextmanager
async def open_authenticator(
    settings: AccessSettings, health: Health, *, now: Now = utc_now
) -> AsyncIterator[Authenticator]:
    """Check tokens as the settings say. With the keys of an issuer, ready only when they have come.

    Args:
        settings: which tokens count.
        health: told whether the keys have come, as `token_keys`.
        now: the wall clock.
    """
    if settings.auth == "none":
        yield NoAuth()
        return
    async with AsyncExitStack() as stack:
        fetch = await _source(settings, stack)
        key_set = None
        if fetch is not None:
            key_set = KeySet(
                fetch,
                refresh_seconds=settings.token_jwks_refresh_seconds,
                cooldown_seconds=settings.token_jwks_cooldown_seconds,
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


async def _source(settings: AccessSettings, stack: AsyncExitStack) -> Fetch | None:
    bytes_at_most = settings.token_jwks_max_bytes
    if settings.token_jwks_file is not None:
        return from_file(settings.token_jwks_file, max_bytes=bytes_at_most)
    if settings.token_jwks_url is None:
        return None
    # Nothing is unpacked: a small answer must not become a large one.
    http = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True, auto_decompress=False))
    seconds = settings.token_jwks_fetch_seconds
    return from_url(http, str(settings.token_jwks_url), seconds=seconds, max_bytes=bytes_at_most)
