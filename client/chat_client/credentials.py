"""The token that a client shows: a fixed one, or one that a function of the caller makes."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from chat_client.errors import Unreachable

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function that returns one; it is called again when the server does not take the last one any more."""


def authorization(token: str | None) -> dict[str, str]:
    """Return the header that shows a token. It is never put into an address."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class TokenSource:
    """Has the token at hand."""

    def __init__(self, token: Token | None) -> None:
        self._make = token if callable(token) else None
        self._token = None if callable(token) else token

    @property
    def can_refresh(self) -> bool:
        """Whether another token can be had."""
        return self._make is not None

    def discard(self) -> None:
        """Forget the token: the server takes it no more."""
        if self._make is not None:
            self._token = None

    async def current(self) -> str | None:
        """Return the token to show; None: there is none.

        Raises:
            Unreachable: the function that makes it failed.
        """
        if self._token is None and self._make is not None:
            try:
                made = self._make()
                self._token = await made if isawaitable(made) else made
            except Exception as exc:
                raise Unreachable(f"there is no token: {exc!r}") from exc
        return self._token
