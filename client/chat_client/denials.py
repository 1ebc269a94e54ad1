"""What a client can do about a denial, by its code: one table for programs and for the command line."""

from dataclasses import dataclass
from typing import Final


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

DENIAL_ADVICE: Final = {
    "client_id_missing": DenialAdvice("say who you are", "--client-id"),
    "client_id_malformed": DenialAdvice("give another client id", "--client-id"),
    "client_limit": DenialAdvice("close another connection of this client, then try again"),
    "client_not_yours": DenialAdvice("give the client id that the token is for", "--client-id"),
    "access_denied": DenialAdvice("give a token of this client", "--token-file"),
    "time_zone_missing": DenialAdvice("say where you are", "--time-zone"),
    "time_zone_malformed": _OTHER_ZONE,
    "time_zone_unknown": _OTHER_ZONE,
    "time_zone_not_served": DenialAdvice("give a time zone that is served here", "--time-zone"),
    "session_id_malformed": DenialAdvice("give the id of a session as history shows it", "--session"),
    "token_missing": DenialAdvice("give a token of this client", "--token-file"),
    "token_malformed": DenialAdvice("give a JSON Web Token", "--token-file"),
    "token_expired": DenialAdvice("get a fresh token for this client", "--token-file"),
    "token_invalid": DenialAdvice("get a token from the right issuer", "--token-file"),
    "token_key_unknown": DenialAdvice(
        "try once more in a moment; else get a token from the right issuer", "--token-file"
    ),
    "cluster_full": _LATER,
    "line_full": _LATER,
    "pod_full": DenialAdvice("try again"),
    "draining": _SOON,
    "internal": _LATER,
    "limits_learning": _SOON,
    "limits_unavailable": _SOON,
    "token_keys_unavailable": _SOON,
    "wait_replaced": DenialAdvice("let one handshake wait at a time"),
    "host_not_allowed": DenialAdvice("use the name that the server is known by"),
    "origin_not_allowed": DenialAdvice("connect without a page, or ask for its origin to be allowed"),
}
