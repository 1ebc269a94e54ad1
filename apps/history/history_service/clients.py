"""All that is kept of a client, over HTTP."""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from history_service.access import Access, path_client
from history_service.erasing import Eraser
from history_service.messages import document as message_document
from history_service.records import KeptExchange, Session, Tally
from history_service.sessions import document as session_document
from history_service.stores.base import MessageStore, SessionKey
from servicekit.logs import get_logger

log = get_logger(__name__)

NDJSON: Final = "application/x-ndjson"
EXPORT_PAGE: Final = 100
"""So many sessions, or exchanges, are held at once while a client is exported."""


class Clients:
    """Exports and erases clients."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access

    async def erase(self, request: Request) -> Response:
        """Answer `DELETE /v1/clients/{client}`: everything up to now, for good. Asked again it goes on."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        await self._eraser.erase_client(client_id)
        log.info("client.erased")  # its id is what was to be forgotten
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def export(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/export`: each session and its messages, one JSON object a line.

        The lines are read from the store as they are sent. The last one counts the others: without it the export
        broke off.
        """
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        if request.method == "HEAD":
            return Response(media_type=NDJSON)
        lines = self._lines(client_id)
        first = await anext(lines)  # there is always one, and a store that fails is told of before the answer begins

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for line in lines:
                yield line

        return StreamingResponse(body(), media_type=NDJSON, headers={"Cache-Control": "no-store"})

    async def _lines(self, client_id: str) -> AsyncIterator[bytes]:
        sessions = messages = 0
        async for session, tally in self._sessions(client_id):
            sessions += 1
            yield _line("session", session_document(session, tally))
            async for exchange in self._exchanges(session):
                for message in exchange.messages():
                    messages += 1
                    yield _line("message", message_document(message))
        yield _line("end", {"sessions": sessions, "messages": messages})

    async def _sessions(self, client_id: str) -> AsyncIterator[tuple[Session, Tally]]:
        after: SessionKey | None = None
        while page := await self._store.sessions(client_id, after=after, limit=EXPORT_PAGE):
            tallies = await self._store.tallies(client_id, [session.id for session in page])
            for counted in zip(page, tallies, strict=True):
                yield counted
            after = SessionKey(page[-1].started_at, page[-1].id)

    async def _exchanges(self, session: Session) -> AsyncIterator[KeptExchange]:
        start: UUID | None = None
        while True:
            page = await self._store.exchanges(session, start=start, backward=False, limit=EXPORT_PAGE)
            fresh = [exchange for exchange in page if exchange.id != start]
            for exchange in fresh:
                yield exchange
            if not fresh:
                return
            start = fresh[-1].id


def _line(kind: str, content: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, **content}, ensure_ascii=False).encode() + b"\n"
