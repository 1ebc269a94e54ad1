"""Reading back what was said, from the history service over HTTP."""

import re
from collections.abc import AsyncIterator, Callable, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Self
from urllib.parse import quote
from uuid import UUID

import aiohttp

from chat_client.errors import FileTrouble, Refused, Unreachable, WrongAnswer
from chat_client.files import whole_file

PAGE: Final = 100
CHUNK_BYTES: Final = 64 * 1024
OK: Final = 200
PARTIAL: Final = 206
ERRORS: Final = 400  # the first status of HTTP that says no
MESSAGE_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\.(request|reply)")
PARTS: Final = {"voice", "video", "image"}
OnBytes = Callable[[int], None]
"""Called with the number of bytes that have come so far."""


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation."""

    id: UUID
    client_id: str
    time_zone: str
    started_at: datetime
    message_count: int
    last_message_at: datetime | None


@dataclass(frozen=True, slots=True)
class Media:
    """Voice, video or picture of a message."""

    part: str
    href: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Address:
    """Where a medium opens without a token, and until when; None: that does not end."""

    url: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message, from either side."""

    id: str
    direction: str
    kind: str
    text: str | None
    media: tuple[Media, ...]
    outcome: str
    sent_at: datetime


class History:
    """Reads from a history service. Use it with `async with`.

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

    async def sessions(self, client_id: str) -> AsyncIterator[Session]:
        """Yield the sessions of a client, latest first.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        path = f"/v1/clients/{quote(client_id, safe='')}/sessions?limit={PAGE}"
        cursor: str | None = ""
        while cursor is not None:
            page = await self._get(path + cursor)
            with self._reading():
                found = [_session(item) for item in page["sessions"]]
                cursor = f"&cursor={quote(page['next'], safe='')}" if found and page["next"] is not None else None
            for session in found:
                yield session

    async def messages(self, session_id: UUID, *, newest: int | None = None) -> list[Message]:
        """Return the messages of a session, oldest first: all, or the newest so many.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        path = f"/v1/sessions/{session_id}/messages"
        found: list[Message] = []
        before: str | None = ""
        while before is not None and (newest is None or len(found) < newest):
            limit = PAGE if newest is None else min(PAGE, newest - len(found))
            page = await self._get(f"{path}?limit={limit}{before}")
            with self._reading():
                older = [_message(item) for item in page["messages"]]
                before = f"&before={quote(page['before'], safe='')}" if older and page["before"] is not None else None
            found[:0] = older
        return found

    async def message(self, message_id: str) -> Message:
        """Return one message.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        answer = await self._get(f"/v1/messages/{quote(message_id, safe='')}")
        with self._reading():
            return _message(answer)

    async def address(self, media: Media) -> Address:
        """Return an address at which a player may read a medium for a while, without a token.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        async with self._answer(f"{media.href}/address", {}, method="POST") as response:
            with self._reading():
                item = await response.json()
                ends = item["expires_at"]
                return Address(
                    self._address + str(item["href"]), None if ends is None else datetime.fromisoformat(ends)
                )

    async def download(self, media: Media, path: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Write a medium into a new file. A download that breaks off goes on where it was, a few times.

        Raises:
            ClientError: it cannot be had, or not be written.
        """
        with whole_file(path) as file:
            for attempts_left in (2, 1, 0):
                try:
                    await self._download_rest(media, file, on_bytes)
                except WrongAnswer:
                    raise
                except Unreachable:
                    if file.tell() == media.size_bytes:  # it broke off behind the last byte
                        return
                    if not attempts_left or not file.tell():
                        raise
                else:
                    return

    async def _download_rest(self, media: Media, file: BinaryIO, on_bytes: OnBytes | None) -> None:
        start = file.tell()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        async with self._answer(media.href, headers, {OK, PARTIAL} if start else {OK}) as response:
            if response.status == OK:
                file.seek(0)  # all of it, whatever was asked for
                file.truncate()
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise WrongAnswer(f"what came of {media.part} is not the part that was asked for")
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                if file.tell() + len(chunk) > media.size_bytes:
                    raise WrongAnswer(f"more came of {media.part} than its {media.size_bytes} bytes")
                try:
                    file.write(chunk)
                except OSError as trouble:
                    raise FileTrouble(f"{media.part} cannot be saved: {trouble.strerror}") from trouble
                if on_bytes is not None:
                    on_bytes(file.tell())
        if file.tell() < media.size_bytes:
            raise Unreachable(f"the download of {media.part} broke off at {file.tell()} of {media.size_bytes} bytes")

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON from elsewhere
        async with self._answer(path, {}) as response:
            with self._reading():
                return await response.json()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn whatever is wrong with an answer into one error."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as garbled:
            raise WrongAnswer(f"what answers at {self._address} is not the history of a chatbot") from garbled

    @asynccontextmanager
    async def _answer(
        self, path: str, headers: dict[str, str], wanted: Container[int] = frozenset({OK}), *, method: str = "GET"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._http is not None, "use History with `async with`"  # noqa: S101 - a mistake of the caller
        try:
            async with self._http.request(method, self._address + path, headers=headers) as response:
                if response.status >= ERRORS:
                    body = await response.content.read(64 * 1024)
                    raise Refused.from_problem(response.status, body, response.headers.get("Retry-After"))
                if response.status not in wanted:
                    raise WrongAnswer(f"{self._address} is not the history of a chatbot: it said {response.status}")
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as bad:
            raise Unreachable(f"{self._address} is not an address; one looks like http://127.0.0.1:8001") from bad
        except TimeoutError as late:
            raise Unreachable(f"no answer from {self._address} in time") from late
        except aiohttp.ContentTypeError as odd:
            raise WrongAnswer(f"what answers at {self._address} is not the history of a chatbot") from odd
        except aiohttp.ClientConnectorError as unconnected:
            why = unconnected.os_error.strerror or unconnected.os_error
            raise Unreachable(f"{self._address} cannot be reached: {why}") from unconnected
        except (aiohttp.ClientError, OSError, ValueError) as broken:  # ValueError: no name of a host
            raise Unreachable(f"{self._address} cannot be reached: {broken}") from broken


def _session(item: dict[str, Any]) -> Session:
    last = item["last_message_at"]
    return Session(
        UUID(item["id"]),
        str(item["client_id"]),
        str(item["time_zone"]),
        datetime.fromisoformat(item["started_at"]),
        int(item["message_count"]),
        None if last is None else datetime.fromisoformat(last),
    )


def _message(item: dict[str, Any]) -> Message:
    if not MESSAGE_ID.fullmatch(item["id"]) or not PARTS.issuperset(item["media"]):  # they become names of files
        raise ValueError("not the id of a message, or a part that none has")
    media = tuple(
        Media(part, str(there["href"]), str(there["content_type"]), int(there["bytes"]))
        for part, there in item["media"].items()
    )
    return Message(
        item["id"],
        str(item["direction"]),
        str(item["kind"]),
        None if item["text"] is None else str(item["text"]),
        media,
        str(item["outcome"]),
        datetime.fromisoformat(item["sent_at"]),
    )
