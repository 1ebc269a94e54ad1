"""The host names for which a service accepts requests.

A browser lets a page send requests to the host that it came from. The owner of that name can point it at 127.0.0.1
after the page has been loaded (DNS rebinding). The page then reaches a service on the visitor's machine. Only the
`Host` of its requests is wrong.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

ANY_HOST: Final = "*"
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")

_PATTERN = re.compile(r"(?:[a-z0-9*?._-]+|\[[0-9a-f:.*?]+\])(?::(?:[0-9]{1,5}|\*))?")
_DEFAULT_PORTS: Final = ("80", "443")


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The values of `Host` that a service accepts.

    Attributes:
        patterns: as `parse_host_pattern` returns them.
        setting: the variable in which an operator names more, for the message of a refusal.
    """

    patterns: tuple[str, ...]
    setting: str

    def allow(self, host: str) -> bool:
        """Say whether this host, with or without a port, is accepted."""
        name, port = _split(host.lower())
        name = name.removesuffix(".")
        return any(_matches(pattern, name, port) for pattern in self.patterns)


def parse_host_pattern(raw: str) -> str:
    """Return a host pattern in lower case. It may have `*`, `?` and a port; without a port any port matches.

    Raises:
        ValueError: it is not a host, such as an address with a scheme.
    """
    pattern = raw.lower()
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(
            "must be a host such as chat.example, *.example or [::1]:8000, without a scheme and a path, or *"
        )
    return pattern


def allowed_hosts(patterns: Iterable[str], *, listens_on: str, protected: bool, setting: str) -> AllowedHosts | None:
    """Return the hosts that a service accepts; None: any.

    Args:
        patterns: the hosts that an operator has named. The names of this machine are added.
        listens_on: the address that the service listens on.
        protected: whether requests need a token, so that those of a stranger's page fail anyway.
        setting: the variable of `patterns`.
    """
    named = tuple(patterns)
    if ANY_HOST in named or (not named and (protected or not is_loopback(listens_on))):
        return None
    own = f"[{listens_on}]" if ":" in listens_on else listens_on.lower()
    return AllowedHosts((*named, *LOOPBACK_HOSTS, *((own,) if is_loopback(listens_on) else ())), setting)


def is_loopback(host: str) -> bool:
    """Say whether `host` is a loopback address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def _matches(pattern: str, name: str, port: str) -> bool:
    names, port_pattern = _compiled(pattern)
    same_port = port_pattern in {"", "*", port} or (not port and port_pattern in _DEFAULT_PORTS)
    return same_port and names.fullmatch(name) is not None


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], str]:
    """Return what a pattern says of the name, and of the port; there are as many as settings have."""
    name, port = _split(pattern)
    return re.compile(re.escape(name).replace(r"\*", ".*").replace(r"\?", ".")), port
