"""Who may connect: client id, time zone, session, origin and token of a request, checked before anything is upgraded.

Everything here is decided from the request alone and at once; the place in the cluster is asked for afterwards.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import UUID

from chat_service.zones import ServedZones, TimeZone, ZoneError, parse_time_zone
from frameproto.uuid7 import uuid7
from servicekit.problems import Problem
from servicekit.settings.origins import WEB_PORTS
from servicekit.tokens import Authenticator, Principal, bearer_token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from servicekit.clock import Now

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """An admitted client: who asks (`principal`), whose data it is (`client_id`), where and in which session."""

    client_id: str
    time_zone: TimeZone
    session_id: UUID
    principal: Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rules of this deployment.

    Args:
        served_zones: time zones whose clients are served.
        allowed_origins: origins of browsers that may connect beside our own; `*` allows all.
        authenticator: who checks tokens.
        now: the wall clock, for new session ids.
    """

    served_zones: ServedZones
    allowed_origins: frozenset[str]
    authenticator: Authenticator
    now: "Now"

    def check(self, request: "HTTPConnection") -> Visitor:
        """Return the visitor that this request is from.

        Raises:
            Problem: 400 for parameters, 401 or 403 for the token, 403 for the origin; each with a stable code.
        """
        client_id = self._client_id(request)
        time_zone = self._time_zone(request)
        session_id = self._session_id(request)
        self._check_origin(request)
        principal = self.authenticator.authenticate(bearer_token(request))
        if not principal.may_act_for(client_id):
            raise Problem(403, "client_not_yours", f"this token does not open client {client_id}")
        return Visitor(client_id, time_zone, session_id, principal)

    def _client_id(self, request: "HTTPConnection") -> str:
        client_id = _only(request, "clientId", "client_id")
        if client_id is None:
            raise Problem(400, "client_id_missing", "the query parameter clientId is required")
        if CLIENT_ID.fullmatch(client_id) is None:
            raise Problem(
                400,
                "client_id_malformed",
                "clientId must be 1 to 64 of A-Z a-z 0-9 . _ : - and begin with a letter or digit",
            )
        return client_id

    def _time_zone(self, request: "HTTPConnection") -> TimeZone:
        raw = _only(request, "timeZone", "time_zone")
        if raw is None:
            raise Problem(400, "time_zone_missing", "the query parameter timeZone is required, e.g. Europe/Berlin")
        try:
            zone = parse_time_zone(raw)
        except ZoneError as bad:
            raise Problem(400, bad.code, str(bad)) from bad
        if not self.served_zones.serves(zone.name):
            raise Problem(400, "time_zone_not_served", f"clients in {zone.name} are not served here")
        return zone

    def _session_id(self, request: "HTTPConnection") -> UUID:
        raw = _only(request, "sessionId", "session_id")
        if raw is None:
            return uuid7(self.now())
        try:
            session_id = UUID(raw)
        except ValueError:
            session_id = None
        if session_id is None or str(session_id) != raw.lower():
            raise Problem(400, "session_id_malformed", "sessionId must be a UUID in its usual form with hyphens")
        return session_id

    def _check_origin(self, request: "HTTPConnection") -> None:
        """Refuse a browser on somebody else's page: its user did not ask for this connection (RFC 6455, 10.2)."""
        origin = request.headers.get("origin")
        if origin is None or "*" in self.allowed_origins or origin.lower() in self.allowed_origins:
            return
        theirs = _host(origin)
        scheme = urlsplit(origin).scheme if theirs else ""
        ours = _host(f"{scheme}://{request.headers.get('host', '')}") if scheme in WEB_PORTS else None
        if theirs is None or theirs != ours:
            raise Problem(403, "origin_not_allowed", "pages of this origin may not connect")


def _only(request: "HTTPConnection", name: str, code: str) -> str | None:
    """Return the value of a query parameter that may be given once."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise Problem(400, f"{code}_malformed", f"the query parameter {name} is given {len(values)} times")
    return values[0] if values else None


def _host(url: str) -> tuple[str, int | None] | None:
    """Return host and port of an origin, or nothing when it has none (`null`, garbage)."""
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            return None
        return parts.hostname, parts.port or WEB_PORTS.get(parts.scheme)
    except ValueError:
        return None
