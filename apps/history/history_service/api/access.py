"""Access control: a client reads its own data, a service stores exchanges."""

from starlette.requests import Request

from history_service.api.parameters import path_uuid
from history_service.model import Message, MessageId, Session
from history_service.stores.base import MessageStore
from servicekit.problems import Problem
from servicekit.tokens import Authenticator, Principal, bearer_token


class Access:
    """Checks the permission of requests, and finds the session or message that they name.

    Args:
        authenticator: returns the principal of a token.
        store: the sessions and messages.
    """

    def __init__(self, authenticator: Authenticator, store: MessageStore) -> None:
        self._authenticator = authenticator
        self._store = store

    def principal(self, request: Request) -> Principal:
        """Return the caller. Raises a 401 problem."""
        return self._authenticator.authenticate(bearer_token(request))

    def require_client(self, request: Request, client_id: str) -> None:
        """Check that the request may see and change this client's data. Raises a 401 or 403 problem."""
        self.principal(request).require_client(client_id)

    def require_ingest(self, request: Request) -> None:
        """Check that the request may store exchanges. Raises a 401 or 403 problem."""
        self.principal(request).require_ingest()

    def require_context(self, request: Request) -> None:
        """Check that the request may read contexts and answers, as chat does. Raises a 401 or 403 problem."""
        self.principal(request).require_context()

    async def session(self, request: Request) -> Session:
        """Return the session that the path names.

        Raises:
            Problem: 400, 401, or 404: it does not exist, or belongs to another client, which is not revealed.
        """
        principal = self.principal(request)
        session_id = path_uuid(request, "session")
        session = await self._store.sessions.find(session_id, client_id=_only_client(principal))
        if session is None or not principal.may_act_for(session.client_id):
            raise Problem(404, "session_unknown", "there is no such session")
        return session

    async def message(self, request: Request, principal: Principal | None = None) -> Message:
        """Return the message that the path names. `principal` is the caller, if known already.

        Raises:
            Problem: 400, 401, or 404: it does not exist, or belongs to another client, which is not revealed.
        """
        principal = principal or self.principal(request)
        try:
            wanted = MessageId.parse(request.path_params["message"])
        except ValueError as exc:
            raise Problem(400, "message_id_malformed", str(exc)) from exc
        exchange = await self._store.exchanges.find(wanted.exchange_id, client_id=_only_client(principal))
        for message in exchange.messages() if exchange is not None else ():
            if message.id == wanted and principal.may_act_for(message.exchange.client_id):
                return message
        raise Problem(404, "message_unknown", "there is no such message")


def _only_client(principal: Principal) -> str | None:
    """Return the only client whose data this principal may see, which narrows queries; None: any."""
    return None if principal.unchecked else principal.subject
