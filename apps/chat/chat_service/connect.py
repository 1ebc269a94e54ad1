"""The /connect endpoint: admission, a slot of the cluster, the upgrade, then a connection.

A client that is turned away is told so before the upgrade, as problem+json. A browser cannot read a failed handshake,
so a plain GET of the same address is a preflight: it answers what the handshake would meet now, and takes no slot.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route, WebSocketRoute
from structlog.contextvars import bind_contextvars

from chat_service.connection import Connection
from chat_service.denials import denial_of, draining, foreseen, pod_full
from chat_service.dialect import choose
from chat_service.memory import GarbageTimer
from chat_service.transport import TRANSPORT
from frameproto.connection import CONNECT_PATH, SESSION_HEADER, SUBPROTOCOL_V1
from permits import PermitError, Verdict
from servicekit.logs import get_logger
from servicekit.problems import Problem, deny, problem_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from chat_service.admission import Admission, Visitor
    from chat_service.connections import ConnectionRegistry
    from chat_service.conversation import End
    from chat_service.pod import PodServices
    from chat_service.websocket_transport import WebSocketTransport
    from permits import Permit, PermitPool


class ClientGone(Exception):
    """The client went away before it got a slot."""


class ConnectEndpoint:
    """Serves handshakes.

    Args:
        admission: the rules that a request must meet.
        slots: the pool that hands out the connections of the cluster.
        registry: the open connections of this pod.
        pod: what every connection needs.
        wait_seconds: how long a client may wait in the queue for a slot.
        kept_seconds: how long the pool keeps a place in the queue for a client that named it, after the wait.
    """

    def __init__(
        self,
        admission: "Admission",
        slots: "PermitPool",
        registry: "ConnectionRegistry",
        pod: "PodServices",
        *,
        wait_seconds: float,
        kept_seconds: float,
    ) -> None:
        self._admission = admission
        self._slots = slots
        self._registry = registry
        self._pod = pod
        self._wait_seconds = wait_seconds
        self._kept_seconds = kept_seconds if wait_seconds > 0 else 0
        self._garbage = GarbageTimer()
        self._log = get_logger(__name__).bind()  # made once; a lazy one is made anew for each line

    def routes(self) -> list[BaseRoute]:
        """Return the routes of handshakes and preflights, with and without a slash at the end."""
        paths = (CONNECT_PATH, f"{CONNECT_PATH}/")
        return [
            *(WebSocketRoute(path, self.handle_websocket) for path in paths),
            *(Route(path, self.preflight, methods=["GET"]) for path in paths),
        ]

    async def handle_websocket(self, websocket: "WebSocket") -> None:
        """Serve one WebSocket handshake. The connection of a client that is let in goes on without this call."""
        bind_contextvars(connection_id=token_hex(16))  # each handshake has a task, and so a context of its own
        try:
            visitor = self._admission.check(websocket)
            permit = await self._wait_for_slot(websocket, visitor)
        except ClientGone:
            self._log.info("connection.left_the_line")
            self._pod.metrics.denied("left_the_line")
            return
        except Problem as exc:
            self._log.info("connection.denied", status=exc.status, code=exc.code)
            self._pod.metrics.denied(exc.code)
            await deny(websocket, exc)
            return
        bind_contextvars(client_id=visitor.client_id)
        try:
            await self._open(websocket, visitor, permit)
        except BaseException:
            permit.release()
            raise

    async def preflight(self, request: "Request") -> "Response":
        """Answer what a handshake with the same parameters would meet now; or where the client stands in the queue."""
        try:
            visitor = self._admission.check(request)
            if self._registry.is_draining:
                raise draining()
            if self._registry.is_full and visitor.wait_id is None:
                raise pod_full()
            outlook = await self._slots.peek(visitor.client_id, wait_id=visitor.wait_id)
            waits = outlook.waited_seconds is not None and outlook.verdict is not Verdict.GRANTED
            if self._registry.is_full and not waits:
                raise pod_full()
            return problem_response(foreseen(outlook, self._wait_seconds))
        except PermitError as exc:
            return problem_response(denial_of(exc, self._wait_seconds))
        except Problem as exc:
            return problem_response(exc)

    async def _open(self, websocket: "WebSocket", visitor: "Visitor", permit: "Permit") -> None:
        """Upgrade and begin the connection, which lives on by calls when this has returned."""
        subprotocol, dialect = choose(websocket.scope.get("subprotocols", ()))
        connection = Connection(_transport(websocket), dialect, visitor, permit, self._pod)
        if not await _accept(websocket, visitor, subprotocol):
            self._log.info("connection.left_before_accept")
            permit.release()
            return
        self._log.info(
            "connection.open",
            session_id=str(visitor.session_id),
            ticket=permit.ticket,
            subprotocol=subprotocol or SUBPROTOCOL_V1,
        )
        self._pod.metrics.opened()
        self._registry.add(connection)  # with no await until it has begun: a pod that ends meets nothing half open
        connection.start(partial(self._ended, connection))
        if self._registry.is_draining:
            connection.drain()

    def _ended(self, connection: Connection, end: "End") -> None:
        self._log.info("connection.closed", close_code=end.code, reason=end.reason, by_peer=end.by_peer)
        self._pod.metrics.closed(end.code)
        if connection.left_garbage:
            self._garbage.start()
        self._registry.discard(connection)

    async def _wait_for_slot(self, websocket: "WebSocket", visitor: "Visitor") -> "Permit":
        """Return a connection permit, waiting in the queue for it.

        Raises:
            Problem: there is no slot; 429 or 503.
            ClientGone: there is nobody to answer any more.
        """
        if self._registry.is_draining:
            raise draining()
        if self._registry.is_full:
            raise pod_full()
        await websocket.receive()  # the handshake itself; that the client goes is told by the transport
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        on_drain = partial(_fail, settled, draining)
        asked = self._slots.request(
            visitor.client_id,
            wait_seconds=self._wait_seconds,
            settled=partial(_settle, settled),
            wait_id=visitor.wait_id,
        )
        self._registry.on_drain(on_drain)
        _transport(websocket).on_left(partial(_fail, settled, ClientGone))
        try:
            await settled
            permit = asked.result()
            if self._registry.is_full:  # others came in while this client waited
                raise pod_full()
        except PermitError as exc:
            kept_seconds = 0 if visitor.wait_id is None else self._kept_seconds
            raise denial_of(exc, self._wait_seconds, kept_seconds=kept_seconds) from exc
        except BaseException:
            asked.cancel()
            raise
        else:
            return permit
        finally:
            self._registry.off_drain(on_drain)


def _settle(settled: "asyncio.Future[None]", _: object) -> None:
    if not settled.done():
        settled.set_result(None)


def _fail(settled: "asyncio.Future[None]", why: Callable[[], Exception]) -> None:
    if not settled.done():
        settled.set_exception(why())


def _transport(websocket: "WebSocket") -> "WebSocketTransport":
    transport: WebSocketTransport = websocket.scope["extensions"][TRANSPORT]["transport"]
    return transport


async def _accept(websocket: "WebSocket", visitor: "Visitor", subprotocol: str | None) -> bool:
    """Upgrade; say whether the client is still there."""
    session = (SESSION_HEADER.encode(), str(visitor.session_id).encode())
    try:
        await websocket.accept(subprotocol, headers=[session])
    except OSError:
        return False
    return True
