"""Reading back what was said, from the history service over HTTP."""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote
from uuid import UUID

from chat_client.errors import FileTrouble, Unreachable, WrongAnswer
from chat_client.files import whole_file
from chat_client.service import OK, Service
from frameproto import MediaPart
from frameproto.history import (
    MESSAGE_ID_PATTERN,
    ArrivalsJson,
    ExportLine,
    FoundJson,
    MessageJson,
    MessagesJson,
    SessionJson,
    SessionsJson,
    SignedUrlJson,
)

PAGE: Final = 100
BEFORE_ALL: Final = f"{UUID(int=0)}.request"
"""A cursor older than every message; what a cursor names need not be there."""

CHUNK_BYTES: Final = 64 * 1024
PARTIAL: Final = 206
NO_CONTENT: Final = 204
MESSAGE_ID: Final = re.compile(MESSAGE_ID_PATTERN)
PARTS: Final = frozenset(MediaPart)
OnBytes = Callable[[int], None]
"""Called with the number of bytes that have come so far."""


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation."""

    id: UUID
    client_id: str
    time_zone: str
    started_at: datetime
    title: str | None
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
class SignedUrl:
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
    transcribed: bool = False
    """The text is what was understood of the voice or video."""
    message_id: UUID | None = None
    """What the client called its message, over version 2 of the protocol; the reply has it, too."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Messages in the order in which history received them, and the cursor to go on from."""

    messages: tuple[Message, ...]
    cursor: str


class History(Service):
    """Reads from a history service, and changes what is there. Use it with `async with`.

    Args:
        address: of the service, such as http://127.0.0.1:8001.
        token: shown to the server, where it asks for one; a function is called for a fresh one when that is needed.
        seconds: how long one answer may take to begin.
    """

    async def sessions(self, client_id: str) -> AsyncIterator[Session]:
        """Yield the sessions of a client, latest first.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        path = f"/v1/clients/{quote(client_id, safe='')}/sessions?limit={PAGE}"
        cursor: str | None = ""
        while cursor is not None:
            page: SessionsJson = await self._get(path + cursor)
            with self._reading():
                found = [_session(item) for item in page["sessions"]]
                cursor = f"&cursor={quote(page['next'], safe='')}" if found and page["next"] is not None else None
            for session in found:
                yield session

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
            with self._reading():
                found = [read_message(item) for item in page["messages"]]
                after = page["after"] if found else None
            for message in found:
                yield message

    async def _newest_messages(self, session_id: UUID, newest: int) -> list[Message]:
        found: list[Message] = []
        before: str | None = ""
        while before is not None and len(found) < newest:
            page = await self._messages_page(session_id, min(PAGE, newest - len(found)), before)
            with self._reading():
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
        with self._reading():
            return [read_message(item) for item in page["messages"]]

    async def _messages_page(self, session_id: UUID, limit: int, cursor: str) -> MessagesJson:
        page: MessagesJson = await self._get(f"/v1/sessions/{session_id}/messages?limit={limit}{cursor}")
        return page

    async def follow(self, session_id: UUID, cursor: str | None = None) -> Arrived:
        """Return the messages of a session that have arrived since the cursor; none: nothing is new yet.

        Each message comes once, however late it was delivered. Without a cursor it begins with the first message;
        `now` gives a cursor and no messages.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        behind = "" if cursor is None else f"&cursor={quote(cursor, safe='')}"
        page: ArrivalsJson = await self._get(f"/v1/sessions/{session_id}/arrivals?limit={PAGE}{behind}")
        with self._reading():
            return Arrived(tuple(read_message(item) for item in page["messages"]), str(page["next"]))

    async def message(self, message_id: str) -> Message:
        """Return one message.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        item: MessageJson = await self._get(f"/v1/messages/{quote(message_id, safe='')}")
        with self._reading():
            return read_message(item)

    async def address(self, media: Media) -> SignedUrl:
        """Return an address at which a player may read a medium for a while, without a token.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        async with self._answer(f"{media.href}/address", {}, method="POST") as response:
            with self._reading():
                item: SignedUrlJson = await response.json()
                ends = item["expires_at"]
                return SignedUrl(
                    self._address + str(item["href"]), None if ends is None else datetime.fromisoformat(ends)
                )

    async def search(self, client_id: str, words: str) -> AsyncIterator[Message]:
        """Yield the messages of a client that hold all words, newest first.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        path = f"/v1/clients/{quote(client_id, safe='')}/search?q={quote(words, safe='')}&limit={PAGE}"
        cursor: str | None = ""
        while cursor is not None:
            page: FoundJson = await self._get(path + cursor)
            with self._reading():
                found = [read_message(item) for item in page["messages"]]
                cursor = f"&cursor={quote(page['next'], safe='')}" if found and page["next"] is not None else None
            for message in found:
                yield message

    async def session(self, session_id: UUID) -> Session:
        """Return one session.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        item: SessionJson = await self._get(f"/v1/sessions/{session_id}")
        with self._reading():
            return _session(item)

    async def rename(self, session_id: UUID, title: str | None) -> Session:
        """Give a session another title, or none; return it.

        Raises:
            ClientError: the service cannot be asked, or refuses.
        """
        async with self._answer(f"/v1/sessions/{session_id}", {}, method="PATCH", body={"title": title}) as response:
            with self._reading():
                return _session(await response.json())

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
                    raise FileTrouble(f"{path} cannot be written: {exc.strerror}") from exc

    async def export_lines(self, client_id: str) -> AsyncIterator[bytes]:
        """Yield all sessions and messages of a client, one JSON object a line; the last one is the end.

        Raises:
            ClientError: it cannot be had, or it broke off.
        """
        last = b""
        async with self._answer(f"/v1/clients/{quote(client_id, safe='')}/export", {}) as response:
            async for line in lines_of(response.content.iter_chunked(CHUNK_BYTES)):
                yield line
                last = line
        with self._reading():
            if not last.endswith(b"\n") or json.loads(last)["type"] != ExportLine.END:
                raise Unreachable("the export broke off; nothing was saved")

    async def _delete(self, path: str) -> None:
        async with self._answer(path, {}, {NO_CONTENT}, method="DELETE"):
            pass

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
                except OSError as exc:
                    raise FileTrouble(f"{media.part} cannot be saved: {exc.strerror}") from exc
                if on_bytes is not None:
                    on_bytes(file.tell())
        if file.tell() < media.size_bytes:
            raise Unreachable(f"the download of {media.part} broke off at {file.tell()} of {media.size_bytes} bytes")


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


def _session(item: SessionJson) -> Session:
    last = item["last_message_at"]
    return Session(
        UUID(item["id"]),
        str(item["client_id"]),
        str(item["time_zone"]),
        datetime.fromisoformat(item["started_at"]),
        None if item["title"] is None else str(item["title"]),
        int(item["message_count"]),
        None if last is None else datetime.fromisoformat(last),
    )


def read_message(item: MessageJson) -> Message:
    """Return a message that history wrote in JSON.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
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
        bool(item.get("transcribed", False)),  # a history of before does not say it
        None if (named := item.get("message_id")) is None else UUID(named),
    )
