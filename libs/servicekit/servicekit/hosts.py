"""The names by which a service may be asked for.

A browser lets a page talk to the host that it came from. Whoever owns a name can point it at 127.0.0.1 after the page
has been loaded (DNS rebinding), and the page then talks to a service on the machine of whoever looks at it. What gives
it away is the `Host` of its requests.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ANY_HOST: Final = "*"
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")

_PATTERN = re.compile(r"(?:[a-z0-9*?._-]+|\[[0-9a-f:.*?]+\])(?::(?:[0-9]{1,5}|\*))?")
_DEFAULT_PORTS: Final = ("80", "443")


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Which values of `Host` are for this service.

    Attributes:
        patterns: as `parse_host_pattern` returns them.
        setting: the variable in which an operator names more, for the answer to a request for another host.
    """

    patterns: tuple[str, ...]
    setting: str

    def allow(self, host: str) -> bool:
        """Say whether a request for this host, with or without a port, is meant for this service."""
        name, port = _split(host.lower())
        name = name.removesuffix(".")
        return any(_matches(pattern, name, port) for pattern in self.patterns)


def parse_host_pattern(raw: str) -> str:
    """Return a host in lower case, perhaps with `*` and `?` in it, perhaps with a port; without it all are meant.

    Raises:
        ValueError: it is none, such as an address with a scheme.
    """
    pattern = raw.lower()
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(
            "must be a host such as chat.example, *.example or [::1]:8000, without a scheme and a path, or *"
        )
    return pattern


def allowed_hosts(patterns: Iterable[str], *, listens_on: str, protected: bool, setting: str) -> AllowedHosts | None:
    """Return what a service may be asked for; None: anything.

    Args:
        patterns: what an operator has named. Names of this machine itself are always among it.
        listens_on: the address that the service listens on.
        protected: whether requests prove who they are from, so that those of a stranger's page fail anyway.
        setting: the variable of `patterns`.
    """
    named = tuple(patterns)
    if ANY_HOST in named or (not named and (protected or not is_loopback(listens_on))):
        return None
    own = f"[{listens_on}]" if ":" in listens_on else listens_on.lower()
    return AllowedHosts((*named, *LOOPBACK_HOSTS, *((own,) if is_loopback(listens_on) else ())), setting)


def is_loopback(host: str) -> bool:
    """Say whether only this machine itself reaches what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not port.endswith("]") else (host, "")


def _matches(pattern: str, name: str, port: str) -> bool:
    name_pattern, port_pattern = _split(pattern)
    same_port = port_pattern in {"", "*", port} or (not port and port_pattern in _DEFAULT_PORTS)
    glob = re.escape(name_pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return same_port and re.fullmatch(glob, name) is not None
