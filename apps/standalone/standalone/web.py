"""What the browser client of a standalone server needs: where history is, and leave to read it."""

from typing import TYPE_CHECKING, Final

from pydantic import AnyHttpUrl

from servicekit.hosts import is_loopback
from servicekit.runner import Address
from standalone.welcome import reachable

if TYPE_CHECKING:
    from history_service.settings import HistorySettings
    from standalone.delivery_token import StandaloneChatSettings

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost")


def with_own_history(
    chat: "StandaloneChatSettings", history: "HistorySettings"
) -> "tuple[StandaloneChatSettings, HistorySettings]":
    """Return settings with which the page of this process reads the history of this process.

    Chat and history have ports of their own here. Clients must be told where history is, and history must let the page
    read answers. What the settings say already stays. A port that the system chooses is known too late for that.
    """
    if chat.public_history_url is not None or not history.port:
        return chat, history
    at = reachable(Address("history", history.host, history.port))
    chat = chat.model_copy(update={"public_history_url": AnyHttpUrl(f"http://{at}")})
    if not chat.web or not chat.port:
        return chat, history
    page = reachable(Address("chat", chat.host, chat.port)).host
    hosts = LOOPBACK_NAMES if is_loopback(page) else (page,)
    origins = tuple(f"http://{host}:{chat.port}" for host in hosts)
    return chat, history.model_copy(update={"allowed_origins": (*history.allowed_origins, *origins)})
