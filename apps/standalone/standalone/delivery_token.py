"""The token that chat shows to the history service of the same process."""

from collections.abc import Callable
from datetime import timedelta

from chat_service.settings import ChatSettings
from history_service.settings import HistorySettings
from servicekit.tokens import CONTEXT_SCOPE, INGEST_SCOPE, mint

LIFETIME = timedelta(minutes=5)


class StandaloneChatSettings(ChatSettings):
    """The settings of chat, which needs no token of its own for the history service of the same process."""

    @property
    def uses_own_history(self) -> bool:
        """See `ChatSettings.uses_own_history`."""
        return "history_url" not in self.model_fields_set


def delivery_token(chat: StandaloneChatSettings, history: HistorySettings) -> Callable[[], str] | None:
    """Return what signs a token for each delivery, if the settings have none and history asks for one.

    Raises:
        ValueError: history checks tokens by the keys of an issuer only, so nothing here can sign one.
    """
    if chat.history_token is not None or not chat.uses_own_history or history.auth == "none":
        return None
    if not history.token_secrets:
        raise ValueError(
            f"HISTORY_AUTH={history.auth} without HISTORY_TOKEN_SECRETS needs CHAT_HISTORY_TOKEN: a token of the issuer"
            " with the scope ingest, which chat shows to history"
        )
    secret = history.token_secrets[0].get_secret_value()
    return lambda: mint(
        secret,
        subject="chat",
        audience=history.token_audience,
        issuer=history.token_issuer,
        scope=f"{INGEST_SCOPE} {CONTEXT_SCOPE}",
        lifetime=LIFETIME,
    )
