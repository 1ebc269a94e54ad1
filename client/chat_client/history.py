"""Reading back what was said, from the history service over HTTP."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

from chat_client.credentials import Token
from chat_client.download import OnBytes, download
from chat_client.errors import FileError, Unreachable
from chat_client.files import whole_file
from chat_client.history_http import CHUNK_BYTES, HistoryHttp
from chat_client.history_records import Arrived, Media, Message, Session, SignedUrl, read_message, read_session
from frameproto.history import ArrivalsJson, ExportLine, MessageJson, MessagesJson, SessionJson, SignedUrlJson

PAGE: Final = 100
BEFORE_ALL: Final = f"{UUID(int=0)}.request"
"""A cursor older than every message; what a cursor names need not be there."""

NO_CONTENT: Final = 204

Item = TypeVar("Item")


class History:
    """Reads from a history service, and changes what is there. Use it with `async with`.

    Args:
        address: of the service, such as http://127.0.0.1:8001.
        token: shown to the server, where it asks for one; a function is called for a fresh one when that is needed.
        seconds: how long one answer may take to begin.
    """

    def __init__(self, address: str, *, token: Token | None = None, seconds: float = 30.0) -> None:
        self._http = HistoryHttp(address, token=token, seconds=seconds)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._http.__aexit__(*why)

    def sessions(self, client_id: str) -> AsyncIterator[Session]:
        """Yield the sessions of a client, latest first.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        return self._items(f"/v1/clients/{quote(client_id, safe='')}/sessions?limit={PAGE}", "sessions", read_session)

    async def messages(self, session_id: UUID, *, newest: int | None = None) -> AsyncIterator[Message]:
        """Yield the messages of a session, oldest first: all, or the newest so many.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        if newest is not None:
            for message in await self._newest_messages(session_id, newest):
                yield message
            return
        after: str | None = BEFORE_ALL
        while after is not None:
            page = await self._messages_page(session_id, PAGE, f"&after={quote(after, safe='')}")
            with self._http.reading():
                found = [read_message(item) for item in page["messages"]]
                after = page["after"] if found else None
            for message in found:
                yield message

    async def _newest_messages(self, session_id: UUID, newest: int) -> list[Message]:
        found: list[Message] = []
        before: str | None = ""
        while before is not None and len(found) < newest:
            page = await self._messages_page(session_id, min(PAGE, newest - len(found)), before)
            with self._http.reading():
                older = [read_message(item) for item in page["messages"]]
                before = f"&before={quote(page['before'], safe='')}" if older and page["before"] is not None else None
            found[:0] = older
        return found

    async def messages_after(self, session_id: UUID, message_id: str, *, limit: int = PAGE) -> list[Message]:
        """Return the messages of a session just behind an id, oldest first. The id need not be there.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        page = await self._messages_page(session_id, limit, f"&after={quote(message_id, safe='')}")
        with self._http.reading():
            return [read_message(item) for item in page["messages"]]

    async def _messages_page(self, session_id: UUID, limit: int, cursor: str) -> MessagesJson:
        page: MessagesJson = await self._http.get(f"/v1/sessions/{session_id}/messages?limit={limit}{cursor}")
        return page

    async def follow(self, session_id: UUID, cursor: str | None = None) -> Arrived:
        """Return the messages of a session that have arrived since the cursor; none: nothing is new yet.

        Each message comes once, however late it was delivered. Without a cursor it begins with the first message;
        `now` gives a cursor and no messages.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        behind = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
        page: ArrivalsJson = await self._http.get(f"/v1/sessions/{session_id}/arrivals?limit={PAGE}{behind}")
        with self._http.reading():
            return Arrived(tuple(read_message(item) for item in page["messages"]), str(page["next"]))

    async def message(self, message_id: str) -> Message:
        """Return one message.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        item: MessageJson = await self._http.get(f"/v1/messages/{quote(message_id, safe='')}")
        with self._http.reading():
            return read_message(item)

    async def address(self, media: Media) -> SignedUrl:
        """Return an address at which a player may read a medium for a while, without a token.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        async with self._http.answer(f"{media.href}/address", {}, method="POST") as response:
            with self._http.reading():
                item: SignedUrlJson = await response.json()
                ends = item["expires_at"]
                return SignedUrl(
                    self._http.address + str(item["href"]), None if ends is None else datetime.fromisoformat(ends)
                )

    def search(self, client_id: str, words: str) -> AsyncIterator[Message]:
        """Yield the messages of a client that hold all words, newest first.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        path = f"/v1/clients/{quote(client_id, safe='')}/search?q={quote(words, safe='')}&limit={PAGE}"
        return self._items(path, "messages", read_message)

    async def _items(self, path: str, key: str, read: Callable[[Any], Item]) -> AsyncIterator[Item]:
        """Yield what stands under a key of a page, and of the pages behind it."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._http.get(path + cursor)
            with self._http.reading():
                found = [read(item) for item in page[key]]
                cursor = f"&cursor={quote(page['next'], safe='')}" if found and page["next"] is not None else None
            for item in found:
                yield item

    async def session(self, session_id: UUID) -> Session:
        """Return one session.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        item: SessionJson = await self._http.get(f"/v1/sessions/{session_id}")
        with self._http.reading():
            return read_session(item)

    async def rename(self, session_id: UUID, title: str | None) -> Session:
        """Give a session another title, or none; return it.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        body = {"title": title}
        async with self._http.answer(f"/v1/sessions/{session_id}", {}, method="PATCH", body=body) as response:
            with self._http.reading():
                return read_session(await response.json())

    async def delete_session(self, session_id: UUID) -> None:
        """Delete a session with its messages and media, for good.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        await self._delete(f"/v1/sessions/{session_id}")

    async def delete_message(self, message_id: str) -> None:
        """Delete a message with its media, for good.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        await self._delete(f"/v1/messages/{quote(message_id, safe='')}")

    async def erase(self, client_id: str) -> None:
        """Delete everything of a client, for good. If it breaks off, erase again.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        await self._delete(f"/v1/clients/{quote(client_id, safe='')}")

    async def export(self, client_id: str, path: Path) -> None:
        """Write all sessions and messages of a client into a new file, one JSON object a line.

        Raises:
            ClientError: it cannot be had, it broke off, or the file cannot be written.
        """
        with whole_file(path) as file:
            async for line in self.export_lines(client_id):
                try:
                    file.write(line)
                except OSError as exc:
                    raise FileError(f"{path} cannot be written: {exc.strerror}") from exc

    async def export_lines(self, client_id: str) -> AsyncIterator[bytes]:
        """Yield all sessions and messages of a client, one JSON object a line; the last one is the end.

        Raises:
            ClientError: it cannot be had, or it broke off.
        """
        last = b""
        async with self._http.answer(f"/v1/clients/{quote(client_id, safe='')}/export", {}) as response:
            async for line in lines_of(response.content.iter_chunked(CHUNK_BYTES)):
                yield line
                last = line
        with self._http.reading():
            if not last.endswith(b"\n") or json.loads(last)["type"] != ExportLine.END:
                raise Unreachable("the export broke off; nothing was saved")

    async def _delete(self, path: str) -> None:
        async with self._http.answer(path, {}, {NO_CONTENT}, method="DELETE"):
            pass

    async def download(self, media: Media, path: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Write a medium into a new file. A download that breaks off goes on where it was, a few times.

        Raises:
            ClientError: it cannot be had, or not be written.
        """
        await download(self._http, media, path, on_bytes)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines with their ends, however long they are; the last one as it is."""
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *whole, last = bytes(rest).split(b"\n")
            for line in whole:
                yield line + b"\n"
            rest = bytearray(last)
    if rest:
        yield bytes(rest)
