"""Requests to the history service over HTTP, and all that can go wrong with them."""

from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Self

import aiohttp

from chat_client.credentials import Token, TokenSource, authorization
from chat_client.errors import UNAUTHORIZED, Refused, Unreachable, WrongAnswer
from chat_client.proxy import proxy_for, through
from frameproto.connection import WELL_KNOWN_PATH

OK: Final = 200
ERRORS: Final = 400  # the first status of HTTP that says no
NOT_FOUND: Final = "not_found"
"""The code of a path that a service does not have. History has all those that it is asked for."""

PROBE_SECONDS: Final = 5.0
CHUNK_BYTES: Final = 64 * 1024


class HistoryHttp:
    """Sends requests to a history service. Use it with `async with`.

    Args:
        address: of the service, such as http://127.0.0.1:8001.
        token: shown to the server, where it asks for one; a function is called for a fresh one when that is needed.
        seconds: how long one answer may take to begin.
    """

    def __init__(self, address: str, *, token: Token | None = None, seconds: float = 30.0) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip("/").removesuffix("/v1")
        self._tokens = TokenSource(token)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout, trust_env=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON from elsewhere
        """Return the JSON of an answer. Raises as `answer`, and `WrongAnswer` when it is none."""
        async with self.answer(path, {}) as response:
            with self.reading():
                return await response.json()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn whatever is wrong with an answer into one error."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
            raise WrongAnswer(f"what answers at {self.address} is not the history of a chatbot") from exc

    @asynccontextmanager
    async def answer(
        self,
        path: str,
        headers: dict[str, str],
        wanted: Container[int] = frozenset({OK}),
        *,
        method: str = "GET",
        body: object = None,
        data: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer to a request; one that was refused for its token is made once more with a fresh one.

        Raises:
            ClientError: the service cannot be asked, refuses, or answers with a status that is not wanted.
        """
        try:
            async with await self._request(method, path, headers, {"json": body, "data": data}) as response:
                if response.status >= ERRORS:
                    said = await response.content.read(64 * 1024)
                    refused = Refused.from_problem(response.status, said, response.headers.get("Retry-After"))
                    raise await self._misdirected() if refused.code == NOT_FOUND else refused
                if response.status not in wanted:
                    raise WrongAnswer(f"{self.address} is not the history of a chatbot: it said {response.status}")
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as exc:
            raise Unreachable(f"{self.address} is not an address; one looks like http://127.0.0.1:8001") from exc
        except TimeoutError as exc:
            raise Unreachable(f"no answer from {self.address} in time{through(self.address)}") from exc
        except aiohttp.ContentTypeError as exc:
            raise WrongAnswer(f"what answers at {self.address} is not the history of a chatbot") from exc
        except aiohttp.ClientHttpProxyError as exc:
            proxy = proxy_for(self.address)
            raise Unreachable(f"{self.address} cannot be reached: the proxy {proxy} said {exc.status}") from exc
        except aiohttp.ClientConnectorError as exc:
            why = exc.os_error.strerror or exc.os_error
            raise Unreachable(f"{self.address} cannot be reached: {why}{through(self.address)}") from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # ValueError: no name of a host
            raise Unreachable(f"{self.address} cannot be reached: {exc}{through(self.address)}") from exc

    async def _misdirected(self) -> Refused:
        """Say that this is not history, and where that is when the chat service answers here."""
        assert self._http is not None  # noqa: S101 - an answer came through it
        said = f"there is no history service at {self.address}; name it by --history or CHAT_HISTORY_URL"
        with suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError):
            timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
            async with self._http.get(self.address + WELL_KNOWN_PATH, timeout=timeout) as response:
                chat = await response.json() if response.status == OK else None
                if isinstance(chat, dict) and "connect" in chat:
                    where = (
                        f"history is at {chat['history']}, say --history" if chat.get("history") else "say --history"
                    )
                    said = f"{self.address} is the chat service, not history; {where} or CHAT_HISTORY_URL"
        return Refused(404, NOT_FOUND, said)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any], *, is_fresh: bool = False
    ) -> aiohttp.ClientResponse:
        assert self._http is not None, "use History with `async with`"  # noqa: S101 - a mistake of the caller
        shown = headers | authorization(await self._tokens.current())
        response = await self._http.request(method, self.address + path, headers=shown, **body)
        if response.status != UNAUTHORIZED or is_fresh or not self._tokens.can_refresh:
            return response
        response.release()
        self._tokens.discard()
        return await self._request(method, path, headers, body, is_fresh=True)
