"""The /connect endpoint: admission, a place in the cluster, the upgrade, then a conversation.

Whoever is turned away is told so before the upgrade, as problem+json. A browser cannot read a failed handshake, so a
plain GET of the same address peeks: it answers what the handshake would meet now, and takes no place.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from structlog.contextvars import bound_contextvars

from chat_service.conversation import Conversation, ConversationParts
from chat_service.memory import GarbageTimer
from chat_service.transport import WebSocketTransport
from frameproto.connection import SESSION_HEADER, SUBPROTOCOL_V1
from permits import (
    ClientLimitReached,
    LineFull,
    Outlook,
    PermitError,
    PermitTimeout,
    PoolClosed,
    PoolLearning,
    Verdict,
)
from servicekit.logs import get_logger
from servicekit.problems import Problem, deny, problem_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from chat_service.admission import Admission, Visitor
    from permits import Permit, PermitPool

log = get_logger(__name__)

LONGEST_PAUSE_SECONDS: Final = 0.1  # between two closes of a shutdown, so that a pod of few connections is gone at once


class LeftTheLine(Exception):
    """The client went away before it got a place."""


class Door:
    """Lets clients in, knows who is inside, and closes.

    Args:
        admission: the rules that a request must meet.
        connections: the pool that hands out the places of the cluster.
        parts: what every conversation needs.
        wait_seconds: how long a client may wait in line for a place.
        max_open: connections that this pod may have open, whatever the cluster allows; 0: no limit of its own.
    """

    def __init__(
        self,
        admission: "Admission",
        connections: "PermitPool",
        parts: ConversationParts,
        *,
        wait_seconds: float,
        max_open: int = 0,
    ) -> None:
        self._admission = admission
        self._connections = connections
        self._parts = parts
        self._wait_seconds = wait_seconds
        self._max_open = max_open
        self._closing = asyncio.Event()
        self._inside: set[Conversation] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._garbage = GarbageTimer()

    @property
    def is_full(self) -> bool:
        """Whether this pod has as many connections open as it may have."""
        return 0 < self._max_open <= len(self._inside)

    async def enter(self, websocket: "WebSocket") -> None:
        """Serve one WebSocket handshake and, when it is let in, the whole conversation."""
        with bound_contextvars(connection_id=uuid4().hex):
            try:
                visitor = self._admission.check(websocket)
                if self.is_full:
                    raise _pod_full()
                permit = await self._wait_for_place(websocket, visitor)
            except LeftTheLine:
                log.info("connection.left_the_line")
                self._parts.metrics.denied("left_the_line")
                return
            except Problem as denied:
                log.info("connection.denied", status=denied.status, code=denied.code)
                self._parts.metrics.denied(denied.code)
                await deny(websocket, denied)
                return
            with bound_contextvars(client_id=visitor.client_id):
                try:
                    await self._converse(websocket, visitor, permit)
                finally:
                    permit.release()

    async def peek(self, request: "Request") -> "Response":
        """Answer what a handshake with the same parameters would meet now."""
        try:
            visitor = self._admission.check(request)
            if self._closing.is_set():
                raise _draining()
            if self.is_full:
                raise _pod_full()
            return problem_response(self._foresee(await self._connections.peek(visitor.client_id)))
        except PermitError as full:
            return problem_response(self._denial(full))
        except Problem as denied:
            return problem_response(denied)

    def _foresee(self, outlook: Outlook) -> Problem:
        match outlook.verdict:
            case Verdict.GRANTED:
                return Problem(426, "upgrade_required", "connect here with WebSocket", headers={"Upgrade": "websocket"})
            case Verdict.WAIT:
                return self._denial(PermitTimeout(outlook.place))
            case Verdict.CLIENT_LIMIT:
                return self._denial(ClientLimitReached())
            case Verdict.LINE_FULL:
                return self._denial(LineFull())
            case Verdict.LEARNING:
                return self._denial(PoolLearning(outlook.learning_seconds, outlook.place))

    async def close(self, *, spread_seconds: float) -> None:
        """Let nobody in any more, and let those inside finish, one after the other, over at most `spread_seconds`.

        Returns when everybody has left; bound it with a time-out.
        """
        self._closing.set()
        conversations = list(self._inside)
        for conversation in conversations:
            conversation.drain()
            await asyncio.sleep(min(spread_seconds / len(conversations), LONGEST_PAUSE_SECONDS))
        await self.wait_until_empty()

    async def wait_until_empty(self) -> None:
        """Return when nobody is inside."""
        await self._empty.wait()

    def cut(self) -> None:
        """Close every conversation that is still open, whatever it is waiting for."""
        for conversation in self._inside:
            conversation.cut()

    async def _converse(self, websocket: "WebSocket", visitor: "Visitor", permit: "Permit") -> None:
        conversation = Conversation(WebSocketTransport(websocket), visitor, permit, self._parts)
        self._inside.add(conversation)
        self._empty.clear()
        try:
            if not await _accept(websocket, visitor):
                log.info("connection.left_at_the_door")
                return
            log.info("connection.open", session_id=str(visitor.session_id), ticket=permit.ticket)
            if self._closing.is_set():
                conversation.drain()
            with self._parts.metrics.open_connection():
                end = await conversation.run()
            log.info("connection.closed", close_code=end.code, reason=end.reason, by_peer=end.by_peer)
            self._parts.metrics.closed(end.code)
        finally:
            if conversation.left_garbage:
                self._garbage.start()
            self._inside.discard(conversation)
            if not self._inside:
                self._empty.set()

    async def _wait_for_place(self, websocket: "WebSocket", visitor: "Visitor") -> "Permit":
        """Return a connection permit, waiting in line for it.

        Raises:
            Problem: there is no place; 429 or 503.
            LeftTheLine: there is nobody to answer any more.
        """
        if self._closing.is_set():
            raise _draining()
        await websocket.receive()  # the handshake itself; the next event can only be that the client has gone
        asking = asyncio.create_task(self._connections.acquire(visitor.client_id, wait_seconds=self._wait_seconds))
        watching = [asyncio.create_task(websocket.receive()), asyncio.create_task(self._closing.wait())]
        try:
            await asyncio.wait([asking, *watching], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                permit = asking.result()
                if self.is_full:  # others came in while this client waited
                    permit.release()
                    raise _pod_full()
                return permit
            if self._closing.is_set():
                raise _draining()
            raise LeftTheLine
        except PermitError as full:
            raise self._denial(full) from full
        except BaseException:
            await _take_back(asking)
            raise
        finally:
            for watcher in watching:
                watcher.cancel()

    def _denial(self, full: PermitError) -> Problem:
        retry = {"Retry-After": str(max(1, math.ceil(self._wait_seconds)))}
        match full:
            case ClientLimitReached():
                return Problem(429, full.code, "this client has all the connections it may have", headers=retry)
            case PermitTimeout():
                extra = {"place": full.place}
                return Problem(503, full.code, "all places are taken", extra=extra, headers=retry)
            case LineFull():
                return Problem(503, full.code, "too many clients are waiting already", headers=retry)
            case PoolLearning():
                seconds = max(1, math.ceil(full.left_seconds))
                return Problem(
                    503,
                    full.code,
                    "the store of the limits may have forgotten who is connected; nobody new is let in meanwhile",
                    extra={"seconds": seconds, "place": full.place},
                    headers={"Retry-After": str(seconds)},
                )
            case PoolClosed():
                return _draining()
            case _:
                return Problem(503, full.code, "the limits cannot be checked at the moment", headers=retry)


async def _take_back(asking: "asyncio.Task[Permit]") -> None:
    """Stop asking for a permit; one that was granted in this very moment goes back, even if nobody waits for that."""
    asking.add_done_callback(_release_result)
    asking.cancel()
    await asyncio.wait([asking])


def _release_result(asked: "asyncio.Task[Permit]") -> None:
    if not asked.cancelled() and asked.exception() is None:
        asked.result().release()


async def _accept(websocket: "WebSocket", visitor: "Visitor") -> bool:
    """Upgrade; say whether the client is still there."""
    offered = websocket.scope.get("subprotocols", ())
    session = (SESSION_HEADER.encode(), str(visitor.session_id).encode())
    try:
        await websocket.accept(SUBPROTOCOL_V1 if SUBPROTOCOL_V1 in offered else None, headers=[session])
    except OSError:
        return False
    return True


def _draining() -> Problem:
    return Problem(503, "draining", "this server is going away; connect again", headers={"Retry-After": "1"})


def _pod_full() -> Problem:
    return Problem(
        503, "pod_full", "this server has all the connections it may have; connect again", headers={"Retry-After": "1"}
    )
