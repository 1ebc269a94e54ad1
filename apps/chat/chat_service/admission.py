"""Who may connect: client id, time zone, session, origin and token of a request, checked before anything is upgraded.

Everything here is decided from the request alone and at once; the place in the cluster is asked for afterwards.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from chat_service.denials import denied
from chat_service.zones import ServedZones, TimeZone, ZoneError, parse_time_zone
from frameproto.connection import Parameter, is_client_id, is_wait_id, parse_uuid
from frameproto.denials import DenialCode
from servicekit.settings.origins import WEB_PORTS
from servicekit.tokens import Authenticator, Principal, bearer_token
from servicekit.uuid7 import uuid7

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from servicekit.clock import Now


@dataclass(frozen=True, slots=True)
class Visitor:
    """An admitted client: who asks (`principal`), whose data it is (`client_id`), where and in which session.

    `goes_on` tells that the client has named the session, so that it may have messages already. With `wait_id` it names
    its place in the queue.
    """

    client_id: str
    time_zone: TimeZone
    session_id: UUID
    principal: Principal
    wait_id: str | None = None
    goes_on: bool = False


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
            Problem: 400 for parameters, 401 or 403 for the token, 403 for the origin; with a `DenialCode`.
        """
        client_id = self._client_id(request)
        time_zone = self._time_zone(request)
        named_session = self._named_session(request)
        wait_id = self._wait_id(request)
        self._check_origin(request)
        principal = self.authenticator.authenticate(bearer_token(request))
        if not principal.may_act_for(client_id):
            raise denied(DenialCode.CLIENT_NOT_YOURS, f"this token does not open client {client_id}")
        session_id = uuid7(self.now()) if named_session is None else named_session
        return Visitor(client_id, time_zone, session_id, principal, wait_id, goes_on=named_session is not None)

    def _client_id(self, request: "HTTPConnection") -> str:
        client_id = _only(request, Parameter.CLIENT_ID, DenialCode.CLIENT_ID_MALFORMED)
        if client_id is None:
            raise denied(DenialCode.CLIENT_ID_MISSING)
        if not is_client_id(client_id):
            raise denied(DenialCode.CLIENT_ID_MALFORMED)
        return client_id

    def _time_zone(self, request: "HTTPConnection") -> TimeZone:
        raw = _only(request, Parameter.TIME_ZONE, DenialCode.TIME_ZONE_MALFORMED)
        if raw is None:
            raise denied(DenialCode.TIME_ZONE_MISSING)
        try:
            zone = parse_time_zone(raw)
        except ZoneError as exc:
            raise denied(exc.code, str(exc)) from exc
        if not self.served_zones.serves(zone.name):
            raise denied(DenialCode.TIME_ZONE_NOT_SERVED, f"clients in {zone.name} are not served here")
        return zone

    def _named_session(self, request: "HTTPConnection") -> UUID | None:
        raw = _only(request, Parameter.SESSION_ID, DenialCode.SESSION_ID_MALFORMED)
        if raw is None:
            return None
        try:
            return parse_uuid(raw)
        except ValueError:
            raise denied(DenialCode.SESSION_ID_MALFORMED) from None

    def _wait_id(self, request: "HTTPConnection") -> str | None:
        wait_id = _only(request, Parameter.WAIT_ID, DenialCode.WAIT_ID_MALFORMED)
        if wait_id is not None and not is_wait_id(wait_id):
            raise denied(DenialCode.WAIT_ID_MALFORMED)
        return wait_id

    def _check_origin(self, request: "HTTPConnection") -> None:
        """Refuse a browser on somebody else's page: its user did not ask for this connection (RFC 6455, 10.2)."""
        origin = request.headers.get("origin")
        if origin is None or "*" in self.allowed_origins or origin.lower() in self.allowed_origins:
            return
        theirs = _host(origin)
        scheme = urlsplit(origin).scheme if theirs else ""
        ours = _host(f"{scheme}://{request.headers.get('host', '')}") if scheme in WEB_PORTS else None
        if theirs is None or theirs != ours:
            raise denied(DenialCode.ORIGIN_NOT_ALLOWED)


def _only(request: "HTTPConnection", name: Parameter, malformed: DenialCode) -> str | None:
    """Return the value of a query parameter that may be given once."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise denied(malformed, f"the query parameter {name} is given {len(values)} times")
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
