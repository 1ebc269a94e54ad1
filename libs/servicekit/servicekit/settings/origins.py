"""Origins of web pages and of apps made of them, as browsers and app shells write them."""

import re
from typing import Final

ANY_ORIGIN: Final = "*"
OPAQUE_ORIGIN: Final = "null"
WEB_PORTS: Final = {"http": 80, "https": 443}

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])?(?::([0-9]{1,5}))?")
_NEVER_AN_ORIGIN = {"ws", "wss", "ftp", "about", "blob", "data", "javascript", "view-source"}
_FORM = "must be an origin such as https://app.example or capacitor://localhost, without a path, or *"


def parse_origin(raw: str) -> str:
    """Return an origin in lower case and without its default port, the form in which origins are compared.

    `*` stands for all origins, and `null` for pages without one, such as files.

    Raises:
        ValueError: it is not an origin, such as an address with a path, which would never match.
    """
    if raw in {ANY_ORIGIN, OPAQUE_ORIGIN}:
        return raw
    found = _ORIGIN.fullmatch(raw.lower())
    if found is None or found[1] in _NEVER_AN_ORIGIN or (found[1] in WEB_PORTS and not found[2]):
        raise ValueError(_FORM)
    scheme, host, port = found[1], found[2] or "", found[3]
    standard = port is None or int(port) == WEB_PORTS.get(scheme)
    return f"{scheme}://{host}" if standard else f"{scheme}://{host}:{int(port)}"
