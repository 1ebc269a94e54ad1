"""What a client can do about a refusal, by its code: one table for programs and for the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from frameproto.denials import DenialCode


@dataclass(frozen=True, slots=True)
class DenialAdvice:
    """What to do about a denial.

    Attributes:
        action: what to change, or when to try again.
        option: the option of `chat-client` that changes it; empty: none does.
    """

    action: str
    option: str = ""


_OTHER_ZONE: Final = DenialAdvice("give a time zone such as Europe/Berlin or +07:00", "--time-zone")
_SOON: Final = DenialAdvice("try again in a moment")
_LATER: Final = DenialAdvice("try again later")

DENIAL_ADVICE: Final[Mapping[str, DenialAdvice]] = {
    DenialCode.CLIENT_ID_MISSING: DenialAdvice("say who you are", "--client-id"),
    DenialCode.CLIENT_ID_MALFORMED: DenialAdvice("give another client id", "--client-id"),
    DenialCode.CLIENT_LIMIT: DenialAdvice("close another connection of this client, then try again"),
    DenialCode.CLIENT_NOT_YOURS: DenialAdvice("give the client id that the token is for", "--client-id"),
    "access_denied": DenialAdvice("give a token of this client", "--token-file"),
    DenialCode.TIME_ZONE_MISSING: DenialAdvice("say where you are", "--time-zone"),
    DenialCode.TIME_ZONE_MALFORMED: _OTHER_ZONE,
    DenialCode.TIME_ZONE_UNKNOWN: _OTHER_ZONE,
    DenialCode.TIME_ZONE_NOT_SERVED: DenialAdvice("give a time zone that is served here", "--time-zone"),
    DenialCode.SESSION_ID_MALFORMED: DenialAdvice("give the id of a session as history shows it", "--session"),
    DenialCode.TOKEN_MISSING: DenialAdvice("give a token of this client", "--token-file"),
    DenialCode.TOKEN_MALFORMED: DenialAdvice("give a JSON Web Token", "--token-file"),
    DenialCode.TOKEN_EXPIRED: DenialAdvice("get a fresh token for this client", "--token-file"),
    DenialCode.TOKEN_INVALID: DenialAdvice("get a token from the right issuer", "--token-file"),
    DenialCode.TOKEN_KEY_UNKNOWN: DenialAdvice(
        "try once more in a moment; else get a token from the right issuer", "--token-file"
    ),
    DenialCode.CLUSTER_FULL: _LATER,
    DenialCode.LINE_FULL: _LATER,
    DenialCode.POD_FULL: DenialAdvice("try again"),
    DenialCode.DRAINING: _SOON,
    DenialCode.INTERNAL: _LATER,
    DenialCode.LIMITS_LEARNING: _SOON,
    DenialCode.LIMITS_UNAVAILABLE: _SOON,
    DenialCode.TOKEN_KEYS_UNAVAILABLE: _SOON,
    DenialCode.WAIT_REPLACED: DenialAdvice("let one handshake wait at a time"),
    "host_not_allowed": DenialAdvice("use the name that the server is known by"),
    DenialCode.ORIGIN_NOT_ALLOWED: DenialAdvice("connect without a page, or ask for its origin to be allowed"),
}
