"""Imports an archive: exchanges are rebuilt in their wire format and sent to ingest."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from chat_client.archive import INDEX, index_lines, media_name
from chat_client.errors import FileError, Refused
from chat_client.history import History
from chat_client.history_http import HistoryHttp
from frameproto import (
    FrameError,
    MediaPart,
    MessageKind,
    Request,
    RequestKind,
    Response,
    ResponseKind,
    encode_request,
    encode_response,
)
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from frameproto.history import REFUSED, Direction, ExportLine, InsertResult, MessageJson, ResultsJson, SessionJson
from frameproto.kinds import Outcome

BATCH_BYTES: Final = 4 * 1024 * 1024
BATCH_RECORDS: Final = 200
ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 2.0
DELETED: Final = "(deleted)"
"""Placeholder for a deleted message whose exchange still has the other one. It is deleted after the import, too."""

REQUEST_KINDS: Final = {kind.message_kind: kind for kind in RequestKind}
RESPONSE_KINDS: Final = {kind.message_kind: kind for kind in ResponseKind}

OnDone = Callable[[int], None]
"""Called with the number of exchanges so far."""


async def ingest(http: HistoryHttp, records: list[bytes]) -> list[str]:
    """Send records; return the result of each, in order. A busy service is retried.

    Raises:
        ClientError: the service cannot be asked, or refuses.
    """
    headers = {"Content-Type": "application/msgpack"}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with http.answer("/v1/exchanges", headers, method="POST", data=encode_batch(records)) as response:
                with http.reading():
                    results: ResultsJson = await response.json()
                    return [str(result["outcome"]) for result in results["results"]]
        except Refused as exc:
            if exc.retry_after_seconds is None or attempt == ATTEMPTS:
                raise
            await asyncio.sleep(min(exc.retry_after_seconds, PAUSE_SECONDS * attempt))
    raise AssertionError("the last attempt returns or raises")


@dataclass(slots=True)
class Imported:
    """The results of an import."""

    results: Counter[str] = field(default_factory=Counter)
    incomplete: int = 0
    """Exchanges that cannot be rebuilt, because their media are not in the folder."""

    @property
    def stored(self) -> int:
        """How many are new there."""
        return self.results[InsertResult.STORED]

    @property
    def erased(self) -> int:
        """How many had been deleted or erased there, and so are not taken."""
        return self.results[InsertResult.ERASED]

    @property
    def refused(self) -> int:
        """How many the service cannot keep."""
        return self.results[REFUSED]

    @property
    def present(self) -> int:
        """How many were there already."""
        return self.results.total() - self.stored - self.erased - self.refused


class Import:
    """Reads an archive into an installation.

    Args:
        path: the folder, or the index in it.
        ingest: where exchanges are handed in; its token has the scope ingest.
        history: where titles are set, and messages that were deleted are deleted again, in the name of the client.
    """

    def __init__(self, path: Path, ingest: HistoryHttp, history: History) -> None:
        self._index = path / INDEX if path.is_dir() else path
        self._ingest = ingest
        self._history = history
        self._imported = Imported()
        self._records: list[bytes] = []
        self._made_up: list[str] = []

    async def run(self, on_done: OnDone) -> Imported:
        """Hand in all exchanges. What is there already stays as it is, so it may be run again.

        Raises:
            ClientError: the archive cannot be read, or the services refuse.
        """
        titles: dict[UUID, str] = {}
        for session, messages in exchanges_of(self._index):
            if session["title"]:
                titles[UUID(session["id"])] = session["title"]
            if messages:
                await self._add(session, messages)
                on_done(self._imported.results.total())
        await self._flush()
        on_done(self._imported.results.total())
        for session_id, title in titles.items():
            await self._name(session_id, title)
        return self._imported

    async def _add(self, session: SessionJson, messages: list[MessageJson]) -> None:
        exchange = await asyncio.to_thread(self._exchange, session, messages)
        if exchange is None:
            self._imported.incomplete += 1
            return
        self._records.append(encode_exchange(exchange))
        there = {message["direction"] for message in messages}
        self._made_up += [f"{exchange.id}.{direction}" for direction in Direction if direction not in there]
        if len(self._records) == BATCH_RECORDS or sum(map(len, self._records)) > BATCH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        if self._records:
            self._imported.results.update(await ingest(self._ingest, self._records))
        for message_id in self._made_up:
            await self._delete(message_id)
        self._records, self._made_up = [], []

    async def _delete(self, message_id: str) -> None:
        """Delete a message that stands for a deleted one. One that has another text was there before, and stays."""
        try:
            if (await self._history.message(message_id)).text == DELETED:
                await self._history.delete_message(message_id)
        except Refused as exc:
            if exc.code != "message_unknown":
                raise

    async def _name(self, session_id: UUID, title: str) -> None:
        """Give a session its title, unless it has one there."""
        try:
            if (await self._history.session(session_id)).title is None:
                await self._history.rename(session_id, title)
        except Refused as exc:
            if exc.code != "session_unknown":  # it was deleted there, or all its exchanges were left out
                raise

    def _exchange(self, session: SessionJson, messages: list[MessageJson]) -> Exchange | None:
        """Make an exchange again; None: its media are not all there."""
        by_direction = {message["direction"]: message for message in messages}
        request, reply = by_direction.get(Direction.REQUEST), by_direction.get(Direction.REPLY)
        first, last = request or messages[0], reply or messages[-1]
        try:
            return Exchange(
                id=UUID(first["exchange_id"]),
                session_id=UUID(session["id"]),
                client_id=session["client_id"],
                time_zone=session["time_zone"],
                received_at=datetime.fromisoformat(first["sent_at"]),
                answered_at=datetime.fromisoformat(last["sent_at"]),
                outcome=Outcome(first["outcome"]),
                request=encode_request(self._request(request)),
                response=encode_response(self._response(reply)),
                transcript=(request["text"] or "") if request and request["transcribed"] else "",
                message_id=_message_id(first),
            )
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise FileError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
        except (FrameError, ValueError, LookupError, TypeError) as exc:
            raise FileError(f"{self._index} is not an export of history: {exc}") from exc

    def _request(self, message: MessageJson | None) -> Request:
        if message is None:
            return Request(RequestKind.TEXT, DELETED.encode())
        kind = REQUEST_KINDS[MessageKind(message["kind"])]
        return Request(kind, (message["text"] or "").encode() if kind.part is None else self._media(message, kind.part))

    def _response(self, message: MessageJson | None) -> Response:
        if message is None:
            return Response(ResponseKind.TEXT, DELETED)
        kind = RESPONSE_KINDS[MessageKind(message["kind"])]
        media = {part.value: self._media(message, part) for part in kind.parts}
        return Response(kind, message["text"] or "", **media)

    def _media(self, message: MessageJson, part: MediaPart) -> bytes:
        there = message["media"][part]
        content = (self._index.parent / media_name(message["id"], part, there["content_type"])).read_bytes()
        if len(content) != there["bytes"]:
            raise FileNotFoundError(part)
        return content


def _message_id(message: Mapping[str, object]) -> UUID | None:
    """Return the message id of the client. Exports of older versions have none."""
    given = message.get("message_id")
    return None if given is None else UUID(str(given))


def exchanges_of(index: Path) -> Iterator[tuple[SessionJson, list[MessageJson]]]:
    """Yield the messages of each exchange with their session, in the order of the index; a session that has none, too.

    Raises:
        FileError: the index cannot be read, is no export, or is not whole.
    """
    session: Any = None
    messages: list[Any] = []
    for line in index_lines(index):
        same = line["type"] == ExportLine.MESSAGE and messages and line["exchange_id"] == messages[-1]["exchange_id"]
        if not same and session is not None and messages:
            yield session, messages
            messages = []
        match line["type"]:
            case ExportLine.SESSION:
                session = line
                yield session, []
            case ExportLine.MESSAGE:
                messages.append(line)
