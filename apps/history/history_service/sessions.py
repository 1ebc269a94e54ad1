"""Sessions over HTTP."""

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.access import Access, asking_client, path_client, path_uuid, query_limit
from history_service.bodies import read_object, read_time_zone, read_title
from history_service.erasing import Eraser
from history_service.records import Session, Tally
from history_service.stores.base import MessageStore, SessionKey, microseconds, moment
from servicekit.clock import Now
from servicekit.problems import Problem
from servicekit.uuid7 import uuid7

CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{32}")
FIRST_US: Final = microseconds(datetime.min.replace(tzinfo=UTC))
LAST_US: Final = microseconds(datetime.max.replace(tzinfo=UTC))


class Sessions:
    """Lists, shows, makes, renames and deletes sessions."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access, now: Now) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access
        self._now = now

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/sessions`: latest first, a page at a time."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        limit = query_limit(request)
        found = await self._store.sessions(client_id, after=_cursor(request), limit=limit + 1)
        page = found[:limit]
        following = _write_cursor(page[-1]) if len(found) > limit else None
        tallies = await self._store.tallies(client_id, [session.id for session in page])
        shown = [document(session, tally) for session, tally in zip(page, tallies, strict=True)]
        return JSONResponse({"sessions": shown, "next": following})

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}`."""
        return await self._show(await self.visible(request))

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
        await self._store.create_session(session)
        where = {"Location": f"/v1/sessions/{session.id}"}
        return JSONResponse(document(session, Tally(0, None)), status_code=HTTPStatus.CREATED, headers=where)

    async def rename(self, request: Request) -> Response:
        """Answer `PATCH /v1/sessions/{session}`: another title, or none."""
        session = await self.visible(request)
        body = await read_object(request, ("title",))
        if "title" in body:
            session = replace(session, title=read_title(body["title"]))
            await self._store.rename_session(session, session.title)
        return await self._show(session)

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /v1/sessions/{session}`: with its messages and their media, for good."""
        await self._eraser.delete_session(await self.visible(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _show(self, session: Session) -> Response:
        (tally,) = await self._store.tallies(session.client_id, [session.id])
        return JSONResponse(document(session, tally))

    async def visible(self, request: Request) -> Session:
        """Return the session in the path.

        Raises:
            Problem: 400, 401, or 404: it is not there, or is another client's, which is not for this one to know.
        """
        principal = self._access.principal(request)
        session_id = path_uuid(request, "session")
        session = await self._store.session(session_id, client_id=asking_client(principal))
        if session is None or not principal.may_act_for(session.client_id):
            raise Problem(404, "session_unknown", "there is no such session")
        return session


def document(session: Session, tally: Tally) -> dict[str, Any]:
    """Return a session as JSON shows it."""
    return {
        "id": str(session.id),
        "client_id": session.client_id,
        "time_zone": session.time_zone,
        "started_at": session.started_at.isoformat(),
        "title": session.title,
        "message_count": tally.messages,
        "last_message_at": None if tally.last_at is None else tally.last_at.isoformat(),
    }


def _cursor(request: Request) -> SessionKey | None:
    raw = request.query_params.get("cursor")
    if raw is None:
        return None
    if CURSOR.fullmatch(raw) is None:
        raise Problem(400, "cursor_malformed", "cursor must be the `next` of an earlier page")
    key = base64.urlsafe_b64decode(raw)
    started_us = int.from_bytes(key[:8], "big", signed=True)
    return SessionKey(moment(min(max(started_us, FIRST_US), LAST_US)), UUID(bytes=key[8:]))


def _write_cursor(session: Session) -> str:
    """Return the place behind a session: start and id, so that it outlives the session."""
    key = microseconds(session.started_at).to_bytes(8, "big", signed=True) + session.id.bytes
    return base64.urlsafe_b64encode(key).decode()
