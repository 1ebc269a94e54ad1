"""uvicorn's HTTP with bounds on what a peer may send before it has asked for anything: in bytes, and in time.

httptools by itself keeps a request line, a header or a trailer of any size in memory, and waits for its end for ever.
"""

import asyncio
import sys
from http import HTTPStatus
from typing import Any, cast

from httptools import HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection.

    Attributes:
        max_head_bytes: how much may come that is neither a whole head nor part of a body.
        head_seconds: how long a head may take, from the connection or from its own first byte on.
    """

    max_head_bytes: int
    head_seconds: float

    _received: bytes = b""
    _upgrade_is_early: bool = False
    _unfinished_bytes: int = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what the peer sent, as long as it comes to something."""
        if self._upgrade_is_early:
            return
        self._unfinished_bytes += len(data)
        self._received = data
        super().data_received(data)
        self._received = b""
        if self._unfinished_bytes > self.max_head_bytes and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """Give each request its time."""
        super().on_message_begin()
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._unfinished_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body is no head."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nor is anything else of a request that is whole."""
        self._unfinished_bytes = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, with all that came behind the handshake; uvicorn would drop that.

        A handshake behind a request that is not answered yet is not looked at: the connection closes with that answer,
        and the client asks again (RFC 9112, 9.3.2).
        """
        earlier = cast("RequestResponseCycle | None", self.cycle)
        if earlier is not None and not earlier.response_complete:
            earlier.keep_alive = False
            self._upgrade_is_early = True
            return
        upgrade = sys.exception()
        assert isinstance(upgrade, HttpParserUpgrade)  # noqa: S101 - uvicorn calls this as it handles one
        rest = self._received[upgrade.args[0] :]
        super().handle_websocket_upgrade()
        if rest:
            protocol = self.transport.get_protocol()
            assert isinstance(protocol, asyncio.Protocol)  # noqa: S101 - a listener has no others
            protocol.data_received(rest)

    def _refuse(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def bounded(max_head_bytes: int, head_seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol with bounds of its own."""
    bounds: dict[str, Any] = {"max_head_bytes": max_head_bytes, "head_seconds": head_seconds}
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), bounds)
