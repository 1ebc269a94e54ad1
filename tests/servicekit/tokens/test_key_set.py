"""The keys of an issuer, kept fresh: when they are fetched, and what happens while they cannot be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from servicekit.tokens import KeySet, KeySetError, KeysUnavailable
from tests.support.issuer import Issuer, ec_key, rsa_key

REFRESH, COOLDOWN = 300.0, 10.0


class Source:
    """What an issuer publishes, and the moments it was asked."""

    def __init__(self) -> None:
        self.issuer = Issuer({"r1": rsa_key("r1")})
        self.failure: Exception | None = None
        self.garbled: bytes | None = None
        self.asked_at: list[float] = []

    async def fetch(self) -> bytes:
        self.asked_at.append(round(asyncio.get_running_loop().time(), 3))
        if self.failure is not None:
            raise self.failure
        return self.issuer.key_set() if self.garbled is None else self.garbled


@asynccontextmanager
async def kept_fresh(source: Source) -> AsyncIterator[KeySet]:
    key_set = KeySet(source.fetch, refresh_seconds=REFRESH, cooldown_seconds=COOLDOWN, jitter=lambda: 1.0)
    running = asyncio.create_task(key_set.run())
    try:
        yield key_set
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


async def at(seconds: float) -> None:
    """Wait until this moment of virtual time."""
    await asyncio.sleep(seconds - asyncio.get_running_loop().time())


@pytest.mark.looptime(start=0)
async def test_keys_are_fetched_at_once_and_again_when_they_are_old() -> None:
    source = Source()
    async with kept_fresh(source) as keys:
        assert not keys.ready()
        with pytest.raises(KeysUnavailable):
            keys.find("r1", "RS256")
        await at(1)
        assert keys.ready()
        assert keys.find("r1", "RS256") is not None
        source.issuer.keys = {"r2": rsa_key("r2")}
        await at(299)
        assert keys.find("r1", "RS256") is not None
        await at(301)
        assert keys.find("r1", "RS256") is None
        assert keys.find("r2", "RS256") is not None
        assert source.asked_at == [0, 300]


@pytest.mark.looptime(start=0)
async def test_an_unknown_key_brings_a_fetch_and_many_bring_one_in_each_cooldown() -> None:
    source = Source()
    async with kept_fresh(source) as keys:
        await at(50)
        source.issuer.keys["r2"] = rsa_key("r2")
        assert keys.find("r2", "RS256") is None
        await at(50.5)
        assert keys.find("r2", "RS256") is not None
        for tenth in range(505, 900):
            await at(tenth / 10)
            assert keys.find(f"made up {tenth}", "RS256") is None
        assert source.asked_at == [0, 50, 60, 70, 80]


@pytest.mark.looptime(start=0)
async def test_the_first_keys_are_asked_for_again_and_again_with_longer_pauses() -> None:
    source = Source()
    source.failure = KeySetError("the issuer is away")
    async with kept_fresh(source) as keys:
        await at(50)
        assert not keys.ready()
        assert source.asked_at == [0, 0.2, 0.6, 1.4, 3, 6.2, 12.6, 22.6, 32.6, 42.6]
        source.failure = None
        await at(53)
        assert keys.ready()


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize(
    "trouble",
    [KeySetError("away"), ConnectionResetError(), b"", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'],
    ids=["away", "a bug", "nothing", "no keys", "no key for us"],
)
async def test_while_the_issuer_is_away_or_confused_the_last_keys_are_kept(trouble: Exception | bytes) -> None:
    source = Source()
    async with kept_fresh(source) as keys:
        await at(1)
        if isinstance(trouble, bytes):
            source.garbled = trouble
        else:
            source.failure = trouble
        await at(5000)
        assert keys.ready()
        assert keys.find("r1", "RS256") is not None
        assert len(source.asked_at) > 100
        source.failure = source.garbled = None
        source.issuer.keys = {"e1": ec_key("e1")}
        await at(5011)
        assert keys.find("e1", "ES256") is not None
        assert keys.find("r1", "RS256") is None


@pytest.mark.looptime(start=0)
async def test_a_token_that_names_no_key_means_the_only_one() -> None:
    source = Source()
    async with kept_fresh(source) as keys:
        await at(1)
        assert keys.find(None, "RS256") is keys.find("r1", "RS256")
        assert keys.find(None, "ES256") is None
        source.issuer.keys["r2"] = rsa_key("r2")
        await at(301)
        assert keys.find(None, "RS256") is None
        assert source.asked_at == [0, 300]
