"""What a person can do about an error: the option that is missing, the other address."""

from chat_client.denials import DENIAL_ADVICE
from chat_client.errors import ClientError, ConnectionLost, Refused
from chat_client.installation import is_history
from frameproto.connection import CloseCode
from frameproto.denials import DenialCode


def advice_on(code: str) -> str:
    """Return what to do about a denial, and by which option; nothing where that is not known."""
    known = DENIAL_ADVICE.get(code)
    if known is None:
        return ""
    return f"{known.action} ({known.option})" if known.option else known.action


def advised(exc: ClientError) -> str:
    """Return an error with what to do about it, where that is known and not said already."""
    said = str(exc)
    if isinstance(exc, ConnectionLost) and exc.code == CloseCode.TOKEN_EXPIRED:
        return f"{said}; {advice_on(DenialCode.TOKEN_EXPIRED)}"
    if not isinstance(exc, Refused) or exc.retry_after_seconds is not None:
        return said
    known = DENIAL_ADVICE.get(exc.code)
    if known is None or (known.option and known.option in said):
        return said
    return f"{said}; {advice_on(exc.code)}"


def misdirected(exc: ClientError, url: str) -> ClientError:
    """Return an error of connecting; where history answered instead of chat, one that says so. This call blocks."""
    if isinstance(exc, Refused) and exc.code == "not_found" and is_history(url):
        return Refused(404, exc.code, f"{url} is the history service; the chat service has another address")
    return exc
