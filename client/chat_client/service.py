"""Asking the history service over HTTP, and all that can go wrong with it."""

from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self

import aiohttp

from chat_client.errors import Refused, Unreachable, WrongAnswer

OK: Final = 200
ERRORS: Final = 400  # the first status of HTTP that says no


class Service:
    """A connection to a history service. Use it with `async with`.

    Args:
        address: of the service, such as http://127.0.0.1:8001.
        token: shown to the server, where it asks for one.
        seconds: how long one answer may take to begin.
    """

    def __init__(self, address: str, *, token: str | None = None, seconds: float = 30.0) -> None:
        self._address = (address if "://" in address else f"http://{address}").rstrip("/").removesuffix("/v1")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, trust_env=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON from elsewhere
        async with self._answer(path, {}) as response:
            with self._reading():
                return await response.json()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn whatever is wrong with an answer into one error."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            raise WrongAnswer(f"what answers at {self._address} is not the history of a chatbot") from exc

    @asynccontextmanager
    async def _answer(
        self,
        path: str,
        headers: dict[str, str],
        wanted: Container[int] = frozenset({OK}),
        *,
        method: str = "GET",
        body: object = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._http is not None, "use History with `async with`"  # noqa: S101 - a mistake of the caller
        try:
            async with self._http.request(method, self._address + path, headers=headers, json=body) as response:
                if response.status >= ERRORS:
                    body = await response.content.read(64 * 1024)
                    raise Refused.from_problem(response.status, body, response.headers.get("Retry-After"))
                if response.status not in wanted:
                    raise WrongAnswer(f"{self._address} is not the history of a chatbot: it said {response.status}")
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
            raise Unreachable(f"{self._address} is not an address; one looks like http://127.0.0.1:8001") from exc
        except TimeoutError as exc:
            raise Unreachable(f"no answer from {self._address} in time") from exc
        except aiohttp.ContentTypeError as exc:
            raise WrongAnswer(f"what answers at {self._address} is not the history of a chatbot") from exc
        except aiohttp.ClientConnectorError as exc:
            why = exc.os_error.strerror or exc.os_error
            raise Unreachable(f"{self._address} cannot be reached: {why}") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # ValueError: no name of a host
            raise Unreachable(f"{self._address} cannot be reached: {exc}") from exc
