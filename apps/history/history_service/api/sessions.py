"""Sessions over HTTP."""

from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frameproto.history import SessionsJson
from history_service.api.access import Access
from history_service.api.documents import session_json
from history_service.api.parameters import path_client, query_limit, query_session_key, session_cursor
from history_service.api.request_body import read_object, read_time_zone, read_title
from history_service.eraser import Eraser
from history_service.model import Session, SessionStats
from history_service.stores.base import MessageStore
from servicekit.clock import Now
from servicekit.uuid7 import uuid7


class Sessions:
    """Lists, shows, makes, renames and deletes sessions."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access, now: Now) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access
        self._now = now

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/sessions`: latest first, in pages."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        limit = query_limit(request)
        found = await self._store.sessions.page(client_id, after=query_session_key(request), limit=limit + 1)
        page = found[:limit]
        stats = await self._store.sessions.stats(client_id, [session.id for session in page])
        content: SessionsJson = {
            "sessions": [session_json(*each) for each in zip(page, stats, strict=True)],
            "next": session_cursor(page[-1]) if len(found) > limit else None,
        }
        return JSONResponse(content)

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}`."""
        return await self._show(await self._access.session(request))

    async def create(self, request: Request) -> Response:
        """Answer `POST /v1/clients/{client}/sessions`: a session to connect with, empty so far."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        body = await read_object(request, ("time_zone", "title"))
        title = read_title(body.get("title"))
        session = Session(
            id=uuid7(self._now()),
            client_id=client_id,
            time_zone=read_time_zone(body.get("time_zone", "UTC")),
            started_at=self._now(),
            title=title,
        )
        await self._store.sessions.create(session)
        where = {"Location": f"/v1/sessions/{session.id}"}
        return JSONResponse(session_json(session, SessionStats(0, None)), HTTPStatus.CREATED, headers=where)

    async def rename(self, request: Request) -> Response:
        """Answer `PATCH /v1/sessions/{session}`: a new title, or none."""
        session = await self._access.session(request)
        body = await read_object(request, ("title",))
        if "title" in body:
            session = replace(session, title=read_title(body["title"]))
            await self._store.sessions.rename(session, session.title)
        return await self._show(session)

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /v1/sessions/{session}`: with its messages and their media, for good."""
        await self._eraser.delete_session(await self._access.session(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _show(self, session: Session) -> Response:
        (stats,) = await self._store.sessions.stats(session.client_id, [session.id])
        return JSONResponse(session_json(session, stats))
