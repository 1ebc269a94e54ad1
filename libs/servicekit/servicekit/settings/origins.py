"""Origins of web pages, as browsers write them."""

import re

ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_origin(raw: str) -> str:
    """Return an origin the way a browser sends it: lower case, no default port. `*` stands for all of them.

    Raises:
        ValueError: it is none, such as an address with a path, which would never match.
    """
    if raw == ANY_ORIGIN:
        return raw
    found = _ORIGIN.fullmatch(raw.lower())
    if found is None:
        raise ValueError("must be an origin such as https://app.example or http://localhost:5173, without a path, or *")
    scheme, host, port = found.groups()
    standard = port is None or int(port) == _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" if standard else f"{scheme}://{host}:{int(port)}"
