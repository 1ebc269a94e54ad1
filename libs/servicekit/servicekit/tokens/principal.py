"""The caller of a request, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from servicekit.problems import Problem

INGEST_SCOPE = "ingest"
CONTEXT_SCOPE = "context"


class TokenErrorCode(StrEnum):
    """Why a token is not accepted."""

    MISSING = "token_missing"
    MALFORMED = "token_malformed"
    EXPIRED = "token_expired"
    KEY_UNKNOWN = "token_key_unknown"
    INVALID = "token_invalid"


class TokenError(Problem):
    """The token does not tell who asks: 401, with the challenge of RFC 6750."""

    def __init__(self, code: TokenErrorCode, detail: str) -> None:
        challenge = (
            "Bearer"
            if code is TokenErrorCode.MISSING
            else f'Bearer error="invalid_token", error_description="{detail}"'
        )
        super().__init__(401, code, detail, headers={"www-authenticate": challenge})


class AccessDenied(Problem):
    """It is known who asks, and they may not: 403."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, "access_denied", detail)


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request.

    Attributes:
        subject: the client id of a client, or the name of a service.
        service: a service that may store exchanges; it may not act for a client.
        context: a service that may read the last messages of sessions; it may not act for a client.
        expires_at: when the token expires (aware, UTC); None: never.
        unchecked: tokens are not checked, so everything is allowed.
    """

    subject: str
    service: bool = False
    context: bool = False
    expires_at: datetime | None = None
    unchecked: bool = False

    def may_act_for(self, client_id: str) -> bool:
        """Say whether this principal may connect as, and read and change the data of, `client_id`."""
        return self.unchecked or (not self.service and not self.context and self.subject == client_id)

    def may_ingest(self) -> bool:
        """Say whether this principal may store exchanges."""
        return self.unchecked or self.service

    def may_read_context(self) -> bool:
        """Say whether this principal may read the last messages of any session."""
        return self.unchecked or self.context

    def require_client(self, client_id: str) -> None:
        """Check that it may act for `client_id`.

        Raises:
            AccessDenied: it may not.
        """
        if not self.may_act_for(client_id):
            raise AccessDenied("this token is not for that client id")

    def require_ingest(self) -> None:
        """Check that it may store exchanges.

        Raises:
            AccessDenied: it may not.
        """
        if not self.may_ingest():
            raise AccessDenied(f'handing in exchanges needs a token with the scope "{INGEST_SCOPE}"')

    def require_context(self) -> None:
        """Check that it may read the last messages of sessions.

        Raises:
            AccessDenied: it may not.
        """
        if not self.may_read_context():
            raise AccessDenied(f'the context of a session needs a token with the scope "{CONTEXT_SCOPE}"')


class Authenticator(Protocol):
    """Returns the principal of a token. It does no I/O: keys are fetched beforehand."""

    def authenticate(self, token: str | None) -> Principal:
        """Return the principal.

        Raises:
            TokenError: the token is missing or not accepted.
        """
        ...


class NoAuth:
    """Accepts every request: for a laptop, or behind a gateway that authenticates."""

    def authenticate(self, token: str | None) -> Principal:  # noqa: ARG002 - the interface's parameter
        """Return a principal that may do everything, whatever the token."""
        return Principal("anonymous", unchecked=True)
