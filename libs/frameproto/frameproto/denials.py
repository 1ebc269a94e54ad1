"""Why a connection is denied before the upgrade: every code, with its HTTP status, when to try again, and its meaning.

docs/protocol.md explains them. Chat service, client library and load test all take them from here.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Final, Self

from frameproto.connection import CLIENT_ID_RULE, TIME_ZONE_RULE, UUID_RULE, WAIT_ID_RULE, Parameter, Reconnect


class DenialCode(StrEnum):
    """Why a handshake is denied.

    Attributes:
        status: of HTTP.
        reconnect: whether the same client may succeed later, and when.
        meaning: a sentence for the person at the client.
    """

    status: HTTPStatus
    reconnect: Reconnect
    meaning: str

    def __new__(cls, code: str, status: int, reconnect: Reconnect, meaning: str) -> Self:
        """Make a member that equals its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.status = HTTPStatus(status)
        member.reconnect = reconnect
        member.meaning = meaning
        return member

    CLIENT_ID_MISSING = (
        "client_id_missing",
        400,
        Reconnect.NEVER,
        f"the query parameter {Parameter.CLIENT_ID} is required",
    )
    CLIENT_ID_MALFORMED = "client_id_malformed", 400, Reconnect.NEVER, f"{Parameter.CLIENT_ID} must be {CLIENT_ID_RULE}"
    TIME_ZONE_MISSING = (
        "time_zone_missing",
        400,
        Reconnect.NEVER,
        f"the query parameter {Parameter.TIME_ZONE} is required, e.g. Europe/Berlin",
    )
    TIME_ZONE_MALFORMED = "time_zone_malformed", 400, Reconnect.NEVER, f"{Parameter.TIME_ZONE} must be {TIME_ZONE_RULE}"
    TIME_ZONE_UNKNOWN = "time_zone_unknown", 400, Reconnect.NEVER, "there is no time zone with this name"
    TIME_ZONE_NOT_SERVED = "time_zone_not_served", 400, Reconnect.NEVER, "clients in this time zone are not served here"
    SESSION_ID_MALFORMED = "session_id_malformed", 400, Reconnect.NEVER, f"{Parameter.SESSION_ID} must be {UUID_RULE}"
    WAIT_ID_MALFORMED = "wait_id_malformed", 400, Reconnect.NEVER, f"{Parameter.WAIT_ID} must be {WAIT_ID_RULE}"
    WEBSOCKET_KEY_MALFORMED = (
        "websocket_key_malformed",
        400,
        Reconnect.NEVER,
        "connect with one Sec-WebSocket-Key: 16 bytes in Base64",
    )
    TOKEN_MISSING = "token_missing", 401, Reconnect.FRESH_TOKEN, "this server asks for a token"
    TOKEN_MALFORMED = "token_malformed", 401, Reconnect.FRESH_TOKEN, "the token is not a JSON Web Token"
    TOKEN_INVALID = "token_invalid", 401, Reconnect.FRESH_TOKEN, "the token is not acceptable"
    TOKEN_KEY_UNKNOWN = (
        "token_key_unknown",
        401,
        Reconnect.FRESH_TOKEN,
        "the token was signed by a key that this server does not know",
    )
    TOKEN_EXPIRED = "token_expired", 401, Reconnect.FRESH_TOKEN, "the token has expired"
    CLIENT_NOT_YOURS = "client_not_yours", 403, Reconnect.NEVER, "the token is for another client id"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed", 403, Reconnect.NEVER, "pages of this origin may not connect"
    WAIT_REPLACED = (
        "wait_replaced",
        409,
        Reconnect.NEVER,
        f"another handshake with the same {Parameter.WAIT_ID} took its place in the queue",
    )
    UPGRADE_REQUIRED = "upgrade_required", 426, Reconnect.AT_ONCE, "connect here with WebSocket"
    WEBSOCKET_VERSION_UNSUPPORTED = (
        "websocket_version_unsupported",
        426,
        Reconnect.NEVER,
        "the version of WebSocket must be 13",
    )
    CLIENT_LIMIT = "client_limit", 429, Reconnect.LATER, "this client has all the connections it may have"
    INTERNAL = "internal", 500, Reconnect.LATER, "the server failed to answer"
    CLUSTER_FULL = "cluster_full", 503, Reconnect.LATER, "all slots are taken"
    LINE_FULL = "line_full", 503, Reconnect.LATER, "too many clients are waiting already"
    POD_FULL = "pod_full", 503, Reconnect.LATER, "this server has all the connections it may have; connect again"
    TOKEN_KEYS_UNAVAILABLE = (
        "token_keys_unavailable",
        503,
        Reconnect.LATER,
        "the keys that check tokens are not there yet",
    )
    LIMITS_LEARNING = (
        "limits_learning",
        503,
        Reconnect.LATER,
        "the store of the limits may have forgotten who is connected; nobody new is let in meanwhile",
    )
    LIMITS_UNAVAILABLE = "limits_unavailable", 503, Reconnect.LATER, "the limits cannot be checked at the moment"
    DRAINING = "draining", 503, Reconnect.LATER, "this server is going away; connect again"


TEMPORARY_DENIALS: Final = frozenset(code for code in DenialCode if code.reconnect is Reconnect.LATER)
"""The codes of denials after which the same request may succeed later."""
