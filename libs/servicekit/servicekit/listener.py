"""The ports of a process: what is served where, and the sockets for it."""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from starlette.types import ASGIApp

from servicekit.hosts import AllowedHosts
from servicekit.http_pace import HttpLimits

EVERYWHERE: Final = "*"
"""The host that means every address of both families, IPv4 and IPv6, as far as they are there."""
BACKLOG: Final = 2048
"""How many connections the kernel may hold before they are accepted."""

PORT_ERRORS: Final = {errno.EADDRINUSE, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port and the application behind it.

    Attributes:
        app: the ASGI application; it gets no lifespan events, resources belong to the program around `serve`.
        host: the address or name to listen on; a name is listened on at each of its addresses.
        port: the port; 0 picks a free one, which `serve` tells its `ready`.
        name: what logs call it.
        hint: what to change when the port is taken, such as `set CHAT_PORT`.
        host_hint: what to change when the host is none of this machine, such as `set CHAT_HOST`.
        ws: uvicorn's name of a WebSocket implementation, or a protocol class; None: no WebSocket here.
        ws_max_bytes: the largest WebSocket message.
        ws_ping_seconds: how often to ping; None: never.
        ws_pong_seconds: how long a pong may take before the connection is given up.
        http: what one HTTP connection may do.
        on_cut: told why an HTTP connection was given up or turned away, in a word of a bounded set.
        allowed_hosts: what requests may be for, probes aside; None: anything.
    """

    app: ASGIApp
    host: str
    port: int
    name: str = "http"
    hint: str = ""
    host_hint: str = ""
    ws: type[asyncio.Protocol] | Literal["websockets-sansio"] | None = None
    ws_max_bytes: int = 16 * 1024 * 1024
    ws_ping_seconds: float | None = 20.0
    ws_pong_seconds: float | None = 20.0
    http: HttpLimits = field(default_factory=HttpLimits)
    on_cut: Callable[[str], None] = lambda reason: None  # noqa: ARG005 - nobody wants to know
    allowed_hosts: AllowedHosts | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener really listens."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class CannotListen(OSError):
    """A port cannot be listened on; the message is for whoever started the program."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A listener with its sockets, which listen already."""

    listener: Listener
    sockets: tuple[socket.socket, ...]

    @property
    def address(self) -> Address:
        """Where it really listens."""
        return Address(self.listener.name, self.listener.host, self.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        for sock in self.sockets:
            sock.close()


def bind_all(listeners: Sequence[Listener]) -> list[Bound]:
    """Listen on every port, or on none.

    Raises:
        CannotListen: one cannot be listened on; the message tells which, why, and the hint of the listener.
    """
    bound: list[Bound] = []
    try:
        for listener in listeners:
            bound.append(_bind(listener))  # noqa: PERF401 - those before a failure must be known, to be closed
    except CannotListen:
        for one in bound:
            one.close()
        raise
    return bound


def _is_there(family: int, address: object) -> bool:
    """Say whether the kernel has this family of addresses; a container may have no IPv6."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _bind(listener: Listener) -> Bound:
    sockets: list[socket.socket] = []
    port = listener.port
    try:
        host = None if listener.host == EVERYWHERE else listener.host
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if host is None:
            found = [one for one in found if _is_there(one[0], one[4][0])]
        for family, _, _, _, address in dict.fromkeys(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            # Two processes can both bind a port before either listens; only listening tells.
            sock.listen(BACKLOG)
            # Of a name with several addresses each must get the same port.
            port = sock.getsockname()[1]
    except (OSError, OverflowError, ValueError) as exc:
        for sock in sockets:
            sock.close()
        hint = listener.hint if _is_about_port(exc) else listener.host_hint
        advice = f" ({hint})" if hint else ""
        where = Address(listener.name, listener.host, listener.port)
        raise CannotListen(f"cannot listen on {where}: {_reason(exc)}{advice}") from exc
    return Bound(listener, tuple(sockets))


def _is_about_port(error: Exception) -> bool:
    """Say whether another port may help; for all else it takes another host."""
    return isinstance(error, OverflowError) or (isinstance(error, OSError) and error.errno in PORT_ERRORS)


def _reason(error: Exception) -> str:
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return words[:1].lower() + words[1:]
