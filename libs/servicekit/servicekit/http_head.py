"""What the head of a request must be before an application sees it (RFC 9110, RFC 9112, RFC 6455).

The parser below has refused already what is no HTTP: folded lines, a space before a colon, a line that ends without
CR, control characters, two lengths, a length beside a transfer coding.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from servicekit.health import PROBE_PATHS
from servicekit.hosts import AllowedHosts
from servicekit.problems import Problem

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case."""

WEBSOCKET_VERSION: Final = b"13"
WEBSOCKET_KEY_BYTES: Final = 16

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE_FORM: Final = re.compile(rb"(?:https?|wss?)://([^/?#]*)([^#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """Where a request goes.

    Attributes:
        path_and_query: in origin-form.
        headers: the headers, with the host of an absolute-form target in place of `Host` (RFC 9112, 3.2.2).
    """

    path_and_query: bytes
    headers: Headers

    @property
    def path(self) -> str:
        """The path alone, as it was sent."""
        return self.path_and_query.partition(b"?")[0].decode("latin-1")


def read_target(version: str, target: bytes, headers: Headers) -> RequestTarget:
    """Return where a request goes, whichever form its target has.

    Raises:
        Problem: 505 for a version that is not spoken here; 400 for a target or a host that is none.
    """
    if version not in {"1.0", "1.1"}:
        raise Problem(505, "http_version_unsupported", f"this server speaks HTTP/1.1, not HTTP/{version}")
    _check_host([value for name, value in headers if name == b"host"], required=version == "1.1")
    if target.startswith(b"/") or target == b"*":
        return RequestTarget(target, headers)
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise Problem(400, "target_malformed", "the target must be a path, or an address with http:// or https://")
    authority, rest = absolute.groups()
    _check_host([authority], required=True)
    others = [(name, value) for name, value in headers if name != b"host"]
    return RequestTarget(rest if rest.startswith(b"/") else b"/" + rest, [(b"host", authority), *others])


def check_host(allowed: AllowedHosts, target: RequestTarget) -> None:
    """Pass when a request is for a host that is served here, or is a probe: those are for the address of a pod.

    A request of HTTP/1.0 may name none, and no browser sends such.

    Raises:
        Problem: 421, with the name of the setting.
    """
    hosts = [value.decode("ascii") for name, value in target.headers if name == b"host"]
    if not hosts or allowed.allow(hosts[0]) or target.path in PROBE_PATHS:
        return
    detail = f"requests for the host {hosts[0]} are not served here; an operator allows it by {allowed.setting}"
    raise Problem(421, "host_not_allowed", detail)


def asks_for_websocket(version: str, method: str, headers: Headers) -> bool:
    """Say whether this is a WebSocket handshake. HTTP/1.0 has no upgrades, so theirs are ignored (RFC 9110, 7.8)."""
    return (
        version == "1.1"
        and method == "GET"
        and _tokens(headers, b"upgrade") == [b"websocket"]
        and b"upgrade" in _tokens(headers, b"connection")
    )


def check_handshake(headers: Headers) -> None:
    """Pass when a WebSocket handshake has what RFC 6455, 4.2.1, asks for.

    Raises:
        Problem: 426 for another version, with the one that is spoken; 400 for the key.
    """
    if [value for name, value in headers if name == b"sec-websocket-version"] != [WEBSOCKET_VERSION]:
        version = WEBSOCKET_VERSION.decode()
        raise Problem(
            426,
            "websocket_version_unsupported",
            f"connect with one header Sec-WebSocket-Version: {version}",
            headers={"upgrade": "websocket", "sec-websocket-version": version},
        )
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Problem(400, "websocket_key_malformed", "connect with one Sec-WebSocket-Key: 16 bytes in Base64")


def _check_host(hosts: Sequence[bytes], *, required: bool) -> None:
    if len(hosts) > 1:
        raise Problem(400, "host_malformed", f"a request has one Host header, and this one has {len(hosts)}")
    if not hosts and required:
        raise Problem(400, "host_missing", "a request of HTTP/1.1 needs a Host header")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise Problem(400, "host_malformed", "the host must be a name or an address, with or without a port")


def _tokens(headers: Headers, wanted: bytes) -> list[bytes]:
    """Return the members of a list that may stand in several headers (RFC 9110, 5.3)."""
    values: Iterable[bytes] = (value for name, value in headers if name == wanted)
    return [token.strip().lower() for token in b",".join(values).split(b",") if token.strip()]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == WEBSOCKET_KEY_BYTES
    except binascii.Error:
        return False
