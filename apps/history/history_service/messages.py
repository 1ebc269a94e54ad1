"""Messages over HTTP."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.access import Access, query_limit
from history_service.addresses import media_path
from history_service.records import Message, MessageId, Session
from history_service.sessions import Sessions
from history_service.stores.base import MessageStore
from servicekit.problems import Problem
from servicekit.tokens import Principal


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a conversation, oldest message first, and whether there is more on either side."""

    messages: list[Message]
    more_before: bool
    more_after: bool


class Messages:
    """Shows conversations and single messages."""

    def __init__(self, store: MessageStore, access: Access, sessions: Sessions) -> None:
        self._store = store
        self._access = access
        self._sessions = sessions

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}/messages`.

        Without a cursor the latest messages; `before` a message those just older, `after` one those just newer. The
        messages of a page are always oldest first. A cursor is the id of a message, which need not be there any more.
        """
        session = await self._sessions.visible(request)
        limit = query_limit(request)
        before, after = _cursor(request, "before"), _cursor(request, "after")
        if before and after:
            raise Problem(400, "cursor_malformed", "give `before` or `after`, not both")
        page = await self._page(session, start=before or after, backward=after is None, limit=limit)
        return JSONResponse(
            {
                "messages": [document(message) for message in page.messages],
                "before": str(page.messages[0].id) if page.more_before and page.messages else None,
                "after": str(page.messages[-1].id) if page.more_after and page.messages else None,
            }
        )

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/messages/{message}`."""
        return JSONResponse(document(await self.visible(request)))

    async def visible(self, request: Request, principal: Principal | None = None) -> Message:
        """Return the message in the path, for `principal` if it is known already who asks.

        Raises:
            Problem: 400, 401, or 404: it is not there, or is another client's, which is not for this one to know.
        """
        principal = principal or self._access.principal(request)
        try:
            wanted = MessageId.parse(request.path_params["message"])
        except ValueError as bad:
            raise Problem(400, "message_id_malformed", str(bad)) from bad
        exchange = await self._store.exchange(wanted.exchange_id)
        if exchange is None or not principal.may_act_for(exchange.client_id):
            raise Problem(404, "message_unknown", "there is no such message")
        return next(message for message in exchange.messages() if message.id == wanted)

    async def _page(self, session: Session, *, start: MessageId | None, backward: bool, limit: int) -> Page:
        # An exchange has two messages, and the one the page starts from may count for none.
        exchanges = await self._store.exchanges(
            session,
            start=start.exchange_id if start else None,
            backward=backward,
            limit=(limit + 1) // 2 + 2,
        )
        messages = sorted((m for exchange in exchanges for m in exchange.messages()), key=lambda m: m.id.key)
        if start is not None and backward:
            messages = [message for message in messages if message.id.key < start.key]
        elif start is not None:
            messages = [message for message in messages if message.id.key > start.key]
        more = len(messages) > limit
        if backward:
            return Page(messages[-limit:], more_before=more, more_after=start is not None)
        return Page(messages[:limit], more_before=start is not None, more_after=more)


def document(message: Message) -> dict[str, Any]:
    """Return a message as JSON shows it."""
    return {
        "id": str(message.id),
        "exchange_id": str(message.exchange.id),
        "session_id": str(message.exchange.session_id),
        "direction": message.id.direction.value,
        "kind": message.side.kind.value,
        "text": message.side.text,
        "media": {
            media.part.value: {
                "href": media_path(str(message.id), media.part.value),
                "content_type": media.content_type,
                "bytes": media.size_bytes,
            }
            for media in message.side.media
        },
        "outcome": message.exchange.outcome.value,
        "sent_at": message.sent_at.isoformat(),
    }


def _cursor(request: Request, name: str) -> MessageId | None:
    raw = request.query_params.get(name)
    try:
        return None if raw is None else MessageId.parse(raw)
    except ValueError as bad:
        raise Problem(400, "cursor_malformed", f"{name} must be the id of a message") from bad
