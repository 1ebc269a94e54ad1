"""Sources of an issuer's public keys: an address or a file."""

import asyncio
from pathlib import Path

import aiohttp

from servicekit.tokens.key_set import Fetch
from servicekit.tokens.keys import KeySetError

_OK = 200


def from_url(http: aiohttp.ClientSession, url: str, *, seconds: float, max_bytes: int) -> Fetch:
    """Return a function that fetches a key set over HTTP. Redirects are not followed."""

    async def fetch() -> bytes:
        try:
            async with (
                asyncio.timeout(seconds),
                http.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer,
            ):
                if answer.status != _OK:
                    raise KeySetError(f"the issuer answered {answer.status}")
                return await _whole(answer.content, max_bytes)
        except TimeoutError as exc:
            raise KeySetError(f"the issuer did not answer within {seconds:g} s") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise KeySetError(f"the issuer cannot be reached: {type(exc).__name__}") from exc

    return fetch


def from_file(path: Path, *, max_bytes: int) -> Fetch:
    """Return a function that reads a key set from a file, such as a mounted one that is replaced."""

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
        except OSError as exc:
            raise KeySetError(f"{path} cannot be read: {exc.strerror}") from exc
        if len(data) > max_bytes:
            raise KeySetError(_too_large(max_bytes))
        return data

    async def fetch() -> bytes:
        return await asyncio.to_thread(read)

    return fetch


async def _whole(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise KeySetError(_too_large(max_bytes))
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> str:
    return f"the key set is larger than {max_bytes} bytes"
