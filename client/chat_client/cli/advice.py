"""What a person can do about an error: the option that is missing, the other address."""

from typing import Final

from chat_client.errors import ClientError, ConnectionLost, Refused
from chat_client.installation import is_history
from frameproto.connection import CloseCode

WHAT_TO_DO: Final = {
    "client_id_missing": "say who you are by --client-id",
    "client_id_malformed": "give another --client-id",
    "client_limit": "close another connection of this client, then try again",
    "client_not_yours": "give the --client-id that the token is for, or another token by --token-file",
    "access_denied": "give the token of this client by --token-file",
    "time_zone_missing": "say where you are by --time-zone",
    "time_zone_malformed": "give a --time-zone such as Europe/Berlin or +07:00",
    "time_zone_unknown": "give a --time-zone such as Europe/Berlin or +07:00",
    "time_zone_not_served": "give a --time-zone that is served here",
    "token_missing": "name a file with your token by --token-file",
    "token_malformed": "name a file with a token by --token-file",
    "token_expired": "get a new token, and name its file by --token-file",
    "token_invalid": "get a token from the right issuer, and name its file by --token-file",
    "token_key_unknown": "try once more in a moment; else get a token from the right issuer",
    "cluster_full": "try again later: all slots are taken",
    "line_full": "try again later: too many clients are waiting",
    "pod_full": "try again",
    "draining": "try again in a moment",
    "limits_learning": "try again in a moment",
    "limits_unavailable": "try again in a moment",
    "token_keys_unavailable": "try again in a moment",
    "host_not_allowed": "use the name that the server is known by",
    "origin_not_allowed": "connect without a page, or ask for its origin to be allowed",
}
"""By the codes of denials."""


def advised(exc: ClientError) -> str:
    """Return an error with what to do about it, where that is known and not said already."""
    said = str(exc)
    advice = WHAT_TO_DO.get(exc.code) if isinstance(exc, Refused) else None
    if isinstance(exc, ConnectionLost) and exc.code == CloseCode.TOKEN_EXPIRED:
        advice = WHAT_TO_DO["token_expired"]
    if advice is None or any(word in said for word in advice.split() if word.startswith("--")):
        return said
    if isinstance(exc, Refused) and exc.retry_after_seconds is not None:
        return said
    return f"{said}; {advice}"


def misdirected(exc: ClientError, url: str) -> ClientError:
    """Return an error of connecting; where history answered instead of chat, one that says so. This call blocks."""
    if isinstance(exc, Refused) and exc.code == "not_found" and is_history(url):
        return Refused(404, exc.code, f"{url} is the history service; the chat service has another address")
    return exc
