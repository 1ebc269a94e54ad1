"""Signed addresses open media without a token for a while: `<audio>` and `<video>` cannot send a header.

An address holds the client, its expiry, and a signature over these, the message and the part. The key is derived from
secrets that all pods share, so any pod accepts what another one signed.
"""

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

from frameproto import MediaPart
from history_service.api.documents import media_path
from history_service.model import Message
from servicekit.clock import Now
from servicekit.problems import Problem
from servicekit.tokens import Principal

PURPOSE: Final = b"chatbot media address, version 1"
EXPIRES: Final = re.compile(r"[1-9][0-9]{0,10}")
CLIENT, EXPIRY, SIGNATURE = "client", "expires", "signature"


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address of media and its expiry; None: it does not expire."""

    href: str
    expires_at: datetime | None


class SignedUrls:
    """Signs and checks addresses.

    Args:
        secrets: the first one signs, all are accepted. Without secrets nothing is signed: everybody may read.
        seconds: the longest lifetime of an address.
        now: the wall clock.
    """

    def __init__(self, secrets: Sequence[str], *, seconds: int, now: Now) -> None:
        # Derived keys, so that a signature here is never valid for a token, nor the reverse.
        self._keys = tuple(hmac.digest(secret.encode(), PURPOSE, hashlib.sha256) for secret in secrets)
        self._seconds = seconds
        self._now = now

    def sign(self, message: Message, part: MediaPart, principal: Principal) -> SignedUrl:
        """Return an address that expires no later than the token of `principal`."""
        path = media_path(str(message.id), part.value)
        if not self._keys:
            return SignedUrl(path, None)
        client_id = message.exchange.client_id
        expires = math.floor(self._now().timestamp()) + self.seconds_left(principal)
        signature = _sign(self._keys[0], client_id, str(message.id), part.value, str(expires))
        query = urlencode({CLIENT: client_id, EXPIRY: expires, SIGNATURE: signature})
        return SignedUrl(f"{path}?{query}", datetime.fromtimestamp(expires, UTC))

    def seconds_left(self, principal: Principal) -> int:
        """Return the lifetime of an address for `principal`."""
        if principal.expires_at is None:
            return self._seconds
        left = (principal.expires_at - self._now()) // timedelta(seconds=1)
        return max(1, min(self._seconds, left))

    def principal(self, request: Request) -> Principal | None:
        """Return the principal of a signed address; None: the request has no signature.

        Raises:
            Problem: 403, the signature is wrong, or the address has expired.
        """
        query = request.query_params
        if not self._keys or not (EXPIRY in query or SIGNATURE in query):
            return None
        values = [query.getlist(name) for name in (CLIENT, EXPIRY, SIGNATURE)]
        if any(len(value) != 1 for value in values):
            raise _invalid()
        client_id, expires, signature = (value[0] for value in values)
        if not EXPIRES.fullmatch(expires):
            raise _invalid()
        signed = client_id, request.path_params["message"], request.path_params["part"], expires
        shown = signature.encode(errors="replace")
        if not any(hmac.compare_digest(shown, _sign(key, *signed).encode()) for key in self._keys):
            raise _invalid()
        expires_at = datetime.fromtimestamp(int(expires), UTC)
        if self._now() >= expires_at:
            raise Problem(403, "address_expired", "this address has ended; ask for a new one")
        return Principal(client_id, expires_at=expires_at)


def _sign(key: bytes, client_id: str, message_id: str, part: str, expires: str) -> str:
    # The signed text has exactly three line feeds. A field with a line feed would make four.
    signed = f"{client_id}\n{message_id}\n{part}\n{expires}".encode(errors="replace")
    return base64.urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).rstrip(b"=").decode()


def _invalid() -> Problem:
    return Problem(403, "address_invalid", "this address was not made by this server, or was changed")
