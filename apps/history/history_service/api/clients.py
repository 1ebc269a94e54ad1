"""Export and deletion of all data of a client, over HTTP."""

import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from frameproto.history import NDJSON, ExportLine
from history_service.api.access import Access
from history_service.api.documents import message_json, session_json
from history_service.api.parameters import path_client
from history_service.eraser import Eraser
from history_service.model import Session, SessionStats, StoredExchange
from history_service.stores.base import MessageStore, SessionKey
from servicekit.logs import get_logger

log = get_logger(__name__)

EXPORT_PAGE: Final = 100
"""How many sessions, or exchanges, an export holds in memory at once."""


class Clients:
    """Exports and erases clients."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access

    async def erase(self, request: Request) -> Response:
        """Answer `DELETE /v1/clients/{client}`: everything up to now, for good. A repeated request continues."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        await self._eraser.erase_client(client_id)
        log.info("client.erased")  # without the client id, which is erased, too
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def export(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/export`: each session and its messages, one JSON object a line.

        The lines are read from the store while they are sent. The last one counts the others: without it the export
        is incomplete.
        """
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        if request.method == "HEAD":
            return Response(media_type=NDJSON)
        lines = self._lines(client_id)
        first = await anext(lines)  # there is always one; if the store fails, the response can still be an error

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for line in lines:
                yield line

        return StreamingResponse(body(), media_type=NDJSON, headers={"Cache-Control": "no-store"})

    async def _lines(self, client_id: str) -> AsyncIterator[bytes]:
        sessions = messages = 0
        async for session, stats in self._sessions(client_id):
            sessions += 1
            yield _line(ExportLine.SESSION, session_json(session, stats))
            async for exchange in self._exchanges(session):
                for message in exchange.messages():
                    messages += 1
                    yield _line(ExportLine.MESSAGE, message_json(message))
        yield _line(ExportLine.END, {"sessions": sessions, "messages": messages})

    async def _sessions(self, client_id: str) -> AsyncIterator[tuple[Session, SessionStats]]:
        after: SessionKey | None = None
        while page := await self._store.sessions.page(client_id, after=after, limit=EXPORT_PAGE):
            stats = await self._store.sessions.stats(client_id, [session.id for session in page])
            for counted in zip(page, stats, strict=True):
                yield counted
            after = SessionKey(page[-1].started_at, page[-1].id)

    async def _exchanges(self, session: Session) -> AsyncIterator[StoredExchange]:
        start: UUID | None = None
        while True:
            page = await self._store.exchanges.page(session, start=start, backward=False, limit=EXPORT_PAGE)
            fresh = [exchange for exchange in page if exchange.id != start]
            for exchange in fresh:
                yield exchange
            if not fresh:
                return
            start = fresh[-1].id


def _line(kind: ExportLine, content: Mapping[str, object]) -> bytes:
    return json.dumps({"type": kind, **content}, ensure_ascii=False).encode() + b"\n"
