"""The names of the bots that come with the service, as `CHAT_BOT` and scripts have them."""

from typing import Final

SCRIPT: Final = "script"
MODEL: Final = "llm"
HTTP: Final = "http"
BUILT_IN: Final = frozenset({SCRIPT, MODEL, HTTP})


def is_bot_name(name: str) -> bool:
    """Say whether this names a bot of the service, or may name one of somebody's own: `package.module:attribute`."""
    return name in BUILT_IN or ":" in name
