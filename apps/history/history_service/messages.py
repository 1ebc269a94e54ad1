"""Messages over HTTP."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.access import Access, asking_client, query_limit
from history_service.addresses import media_path
from history_service.erasing import Eraser
from history_service.records import Direction, Message, MessageId, Session
from history_service.sessions import Sessions
from history_service.stores.base import MessageStore
from servicekit.problems import Problem
from servicekit.tokens import Principal

NOW: Final = "now"
ARRIVAL_CURSOR: Final = re.compile(rf"{NOW}|([0-9]{{1,18}})\.(request|reply)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ArrivalCursor:
    """How far a follower has read: the position of an exchange, and the message of it that was read last."""

    position: int = 0
    direction: Direction = Direction.REPLY

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read a cursor. Raises a 400 problem."""
        match = ARRIVAL_CURSOR.fullmatch(raw)
        if match is None or match[1] is None:
            raise Problem(400, "cursor_malformed", f"cursor must be {NOW}, or the `next` of an earlier answer")
        return cls(int(match[1]), Direction(match[2]))

    def is_before(self, position: int, message: Message) -> bool:
        """Say whether this message of the exchange at that position has not been read."""
        return position > self.position or self.direction is not message.id.direction

    def __str__(self) -> str:
        return f"{self.position}.{self.direction.value}"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a conversation, oldest message first, and whether there is more on either side."""

    messages: list[Message]
    more_before: bool
    more_after: bool


class Messages:
    """Shows conversations and single messages, and deletes these."""

    def __init__(self, store: MessageStore, eraser: Eraser, access: Access, sessions: Sessions) -> None:
        self._store = store
        self._eraser = eraser
        self._access = access
        self._sessions = sessions

    async def list(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}/messages`.

        Without a cursor the latest messages; `before` a message those just older, `after` one those just newer. The
        messages of a page are always oldest first. A cursor is the id of a message, which need not be there any more.
        Both together begin behind `after`, and end before `before`.
        """
        session = await self._sessions.visible(request)
        limit = query_limit(request)
        before, after = read_message_id(request, "before"), read_message_id(request, "after")
        page = await self._page(session, before=before, after=after, limit=limit)
        return JSONResponse(
            {
                "messages": [document(message) for message in page.messages],
                "before": str(page.messages[0].id) if page.more_before and page.messages else None,
                "after": str(page.messages[-1].id) if page.more_after and page.messages else None,
            }
        )

    async def list_arrivals(self, request: Request) -> Response:
        """Answer `GET /v1/sessions/{session}/arrivals`.

        The messages in the order in which they were added. That is for those who ask again and again: each message
        comes once, however late it was delivered.
        """
        session = await self._sessions.visible(request)
        limit = query_limit(request)
        raw = request.query_params.get("cursor")
        if raw == NOW:
            return _arrivals([], ArrivalCursor(await self._store.last_arrival(session)))
        cursor = ArrivalCursor() if raw is None else ArrivalCursor.parse(raw)
        # Of the exchange that the cursor is in, the reply may be left.
        after = cursor.position - (cursor.direction is Direction.REQUEST)
        found = await self._store.arrivals(session, after=after, limit=limit + 1)
        arrived = [(position, message) for position, exchange in found for message in exchange.messages()]
        shown = [each for each in arrived if cursor.is_before(*each)][:limit]
        if shown:
            position, last = shown[-1]
            cursor = ArrivalCursor(position, last.id.direction)
        return _arrivals([message for _, message in shown], cursor)

    async def get(self, request: Request) -> Response:
        """Answer `GET /v1/messages/{message}`."""
        return JSONResponse(document(await self.visible(request)))

    async def delete(self, request: Request) -> Response:
        """Answer `DELETE /v1/messages/{message}`: with its media, for good; the other one of its exchange stays."""
        await self._eraser.delete_message(await self.visible(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

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
        exchange = await self._store.exchange(wanted.exchange_id, client_id=asking_client(principal))
        for message in exchange.messages() if exchange is not None else ():
            if message.id == wanted and principal.may_act_for(message.exchange.client_id):
                return message
        raise Problem(404, "message_unknown", "there is no such message")

    async def _page(self, session: Session, *, before: MessageId | None, after: MessageId | None, limit: int) -> Page:
        start, backward = after or before, after is None
        # Of an exchange one message may be deleted, and the one the page starts from may count for none.
        exchanges = await self._store.exchanges(
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
    return JSONResponse({"messages": [document(message) for message in messages], "next": str(cursor)})


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


def read_message_id(request: Request, name: str) -> MessageId | None:
    """Return a cursor of the query, which need not name a message that is there. Raises a 400 problem."""
    raw = request.query_params.get(name)
    try:
        return None if raw is None else MessageId.parse(raw)
    except ValueError as bad:
        raise Problem(400, "cursor_malformed", f"{name} must be the id of a message") from bad
