"""Messages over HTTP."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frameproto.history import NOW, ArrivalsJson, FoundJson, MessagesJson
from history_service.api.access import Access
from history_service.api.documents import message_json
from history_service.api.parameters import ArrivalCursor, path_client, query_limit, query_message_id, query_words
from history_service.eraser import Eraser
from history_service.model import Message, MessageId, Session
from history_service.stores.base import MessageStore


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a conversation, oldest message first, and whether there is more on either side."""

    messages: list[Message]
    more_before: bool
    more_after: bool


class Messages:
    """Lists and searches messages, and shows and deletes single ones."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}/messages`.

        Without a cursor these are the latest messages, with `before` the next older ones, with `after` the next newer
        ones. A page is always oldest first. A cursor is the id of a message, which may have been deleted. Both cursors
        together give the messages between them, starting behind `after`.
        """
        session = await self._access.session(request)
        limit = query_limit(request)
        before, after = query_message_id(request, "before"), query_message_id(request, "after")
        page = await self._page(session, before=before, after=after, limit=limit)
        content: MessagesJson = {
            "messages": [message_json(message) for message in page.messages],
            "before": str(page.messages[0].id) if page.more_before and page.messages else None,
            "after": str(page.messages[-1].id) if page.more_after and page.messages else None,
        }
        return JSONResponse(content)

    async def list_arrivals(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}/arrivals`.

        The messages in the order in which they were added, for clients that poll: each message comes once, however
        late it was delivered.
        """
        session = await self._access.session(request)
        limit = query_limit(request)
        raw = request.query_params.get("cursor")
        if raw == NOW:
            return _arrivals([], ArrivalCursor(await self._store.exchanges.last_arrival(session)))
        cursor = ArrivalCursor() if raw is None else ArrivalCursor.parse(raw)
        found = await self._store.exchanges.arrivals(session, after=cursor.last_complete, limit=limit + 1)
        arrived = [(position, message) for position, exchange in found for message in exchange.messages()]
        shown = [each for each in arrived if cursor.is_before(*each)][:limit]
        if shown:
            position, last = shown[-1]
            cursor = ArrivalCursor(position, last.id.direction)
        return _arrivals([message for _, message in shown], cursor)

    async def search(self, request: Request) -> Response:
        """Answer `GET /v1/clients/{client}/search`: messages that contain all words, newest first, in pages."""
        client_id = path_client(request)
        self._access.require_client(request, client_id)
        words, limit = query_words(request), query_limit(request)
        before = query_message_id(request, "cursor")
        found = await self._store.exchanges.search(client_id, words, before=before, limit=limit + 1)
        page = found[:limit]
        content: FoundJson = {
            "messages": [message_json(message) for message in page],
            "next": str(page[-1].id) if len(found) > limit else None,
        }
        return JSONResponse(content)

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/messages/{message}`."""
        return JSONResponse(message_json(await self._access.message(request)))

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /v1/messages/{message}`: with its media, for good. The other message of the exchange stays."""
        await self._eraser.delete_message(await self._access.message(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _page(self, session: Session, *, before: MessageId | None, after: MessageId | None, limit: int) -> Page:
        start, backward = after or before, after is None
        # Of an exchange one message may be deleted, and the one the page starts from may count for none.
        exchanges = await self._store.exchanges.page(
            session,
            start=start.exchange_id if start else None,
            backward=backward,
            limit=limit + 2,
        )
        messages = sorted((m for exchange in exchanges for m in exchange.messages()), key=lambda m: m.id.key)
        messages = [
            message
            for message in messages
            if (before is None or message.id.key < before.key) and (after is None or message.id.key > after.key)
        ]
        more = len(messages) > limit
        if backward:
            return Page(messages[-limit:], more_before=more, more_after=start is not None)
        return Page(messages[:limit], more_before=start is not None, more_after=more)


def _arrivals(messages: list[Message], cursor: ArrivalCursor) -> Response:
    content: ArrivalsJson = {"messages": [message_json(message) for message in messages], "next": str(cursor)}
    return JSONResponse(content)
