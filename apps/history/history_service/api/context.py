"""The last messages of a session, for the memory of a bot."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frameproto.history import ContextJson, ContextMessageJson
from history_service.api.access import Access
from history_service.api.parameters import path_client, path_uuid, query_limit
from history_service.model import Message, Session
from history_service.stores.base import MessageStore, foreign_session
from servicekit.problems import Problem

MAX_TEXT_BYTES: Final = 256 * 1024
"""Older messages are left out when the texts would have more bytes in total."""


class Context:
    """Serves the texts of a session's last messages to the chat service."""

    def __init__(self, store: MessageStore, access: Access) -> None:
        self._store = store
        self._access = access

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/sessions/{session}/context`: the newest messages, oldest first."""
        self._access.require_context(request)
        client_id = path_client(request)
        limit = query_limit(request)
        session = await self._session(request, client_id)
        exchanges = await self._store.exchanges.page(session, start=None, backward=True, limit=limit)
        newest_first = [message for exchange in exchanges for message in reversed([*exchange.messages()])]
        content: ContextJson = {"messages": [_json(message) for message in _bounded(newest_first[:limit])][::-1]}
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    async def _session(self, request: Request, client_id: str) -> Session:
        """Return the client's session of this id, which may have another id here. Raises a 400 or 404 problem."""
        wanted = path_uuid(request, "session")
        for session_id in (wanted, foreign_session(wanted, client_id)):
            session = await self._store.sessions.find(session_id, client_id=client_id)
            if session is not None:
                return session
        raise Problem(404, "session_unknown", "there is no such session of this client")


def _bounded(newest_first: list[Message]) -> list[Message]:
    size = 0
    for count, message in enumerate(newest_first):
        size += len((message.content.text or "").encode())
        if size > MAX_TEXT_BYTES:
            return newest_first[:count]
    return newest_first


def _json(message: Message) -> ContextMessageJson:
    return {
        "direction": message.id.direction.value,
        "kind": message.content.kind.value,
        "text": message.content.text,
        "transcribed": message.content.transcribed,
        "sent_at": message.sent_at.isoformat(),
    }
