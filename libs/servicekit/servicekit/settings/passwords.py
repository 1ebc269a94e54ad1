"""Addresses whose password comes from a separate setting, such as `redis://user@host` and a password."""

import re
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

_ADDRESS: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:(?P<user>[^@/?#]*)@)?(?P<rest>.*)", re.DOTALL)


def with_password(address: SecretStr, password: SecretStr, *, needs_user: bool = False) -> SecretStr:
    """Return an address with a password in it, percent-encoded as RFC 3986 (3.2.1) has it.

    Args:
        address: with or without a user, and without a password.
        password: as it is, not encoded.
        needs_user: whether an address without a user is an error.

    Raises:
        ValueError: the address has a password already, or has no user and needs one.
    """
    match = _ADDRESS.fullmatch(address.get_secret_value())
    if match is None:
        raise ValueError("is no address")
    user = match["user"] or ""
    if ":" in user:
        raise ValueError("holds a password already; take it out, or give no other")
    if needs_user and not user:
        raise ValueError("names no user for the password")
    return SecretStr(f"{match['scheme']}{user}:{quote(password.get_secret_value(), safe='')}@{match['rest']}")
