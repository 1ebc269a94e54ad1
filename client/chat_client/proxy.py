"""Which proxy the environment names for an address, so that messages can name it too."""

from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

ENTRIES: Final = {
    "ws": ("ws", "socks", "https", "http"),
    "wss": ("wss", "socks", "https"),
    "http": ("http",),
    "https": ("https",),
}
"""Which entries count for a scheme, the first one found: websockets and aiohttp choose so."""


def proxy_for(url: str) -> str | None:
    """Return the address of the proxy that a request to `url` goes through; None: it goes there directly.

    A user and a password in it are left out.
    """
    there = urlsplit(url)
    port = there.port or (443 if there.scheme in {"wss", "https"} else 80)
    if not there.hostname or proxy_bypass(f"{there.hostname}:{port}"):
        return None
    proxies = getproxies()
    for entry in ENTRIES.get(there.scheme, ()):
        if proxy := proxies.get(entry):
            scheme, separator, rest = proxy.rpartition("://")
            return scheme + separator + rest.rpartition("@")[2]
    return None


def through(url: str) -> str:
    """Return the words that name the proxy of a request to `url`, to stand behind a sentence; empty without one."""
    proxy = proxy_for(url)
    return f" (through the proxy {proxy}, which the environment names)" if proxy else ""
