"""Sessions over HTTP."""

import base64
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.access import Access, path_client, path_uuid, query_limit
from history_service.records import Session
from history_service.stores.base import MessageStore, SessionKey
from servicekit.problems import Problem


class Sessions:
    """Lists and shows sessions."""

    def __init__(self, store: MessageStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/sessions`: latest first, a page at a time."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        limit = query_limit(request)
        found = await self._store.sessions(client_id, after=_cursor(request), limit=limit + 1)
        page = found[:limit]
        following = _write_cursor(page[-1]) if len(found) > limit else None
        return JSONResponse({"sessions": [document(session) for session in page], "next": following})

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}`."""
        return JSONResponse(document(await self.visible(request)))

    async def visible(self, request: Request) -> Session:
        """Return the session in the path.

        Raises:
            Problem: 400, 401, or 404: it is not there, or is another client's, which is not for this one to know.
        """
        principal = self._access.principal(request)
        session = await self._store.session(path_uuid(request, "session"))
        if session is None or not principal.may_act_for(session.client_id):
            raise Problem(404, "session_unknown", "there is no such session")
        return session


def document(session: Session) -> dict[str, Any]:
    """Return a session as JSON shows it."""
    return {
        "id": str(session.id),
        "client_id": session.client_id,
        "time_zone": session.time_zone,
        "started_at": session.started_at.isoformat(),
        "title": session.title,
        "message_count": session.message_count,
        "last_message_at": None if session.last_message_at is None else session.last_message_at.isoformat(),
    }


def _cursor(request: Request) -> SessionKey | None:
    raw = request.query_params.get("cursor")
    if raw is None:
        return None
    try:
        started_at, session_id = base64.urlsafe_b64decode(raw.encode()).decode().split(" ")
        moment = datetime.fromisoformat(started_at)
        if moment.tzinfo is None:
            raise ValueError(started_at)
        return SessionKey(moment, UUID(session_id))
    except (ValueError, OverflowError) as bad:
        raise Problem(400, "cursor_malformed", "cursor must be the `next` of an earlier page") from bad


def _write_cursor(session: Session) -> str:
    return base64.urlsafe_b64encode(f"{session.started_at.isoformat()} {session.id}".encode()).decode()
