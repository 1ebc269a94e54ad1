"""Who may do what: a client reads what is its own, a service hands exchanges in."""

import re
from typing import Final
from uuid import UUID

from starlette.requests import Request

from frameproto.connection import CLIENT_ID_RULE, UUID_RULE, is_client_id, parse_uuid
from servicekit.problems import Problem
from servicekit.tokens import Authenticator, Principal, bearer_token

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50


class Access:
    """Checks requests before anything is done for them."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def principal(self, request: Request) -> Principal:
        """Return who asks. Raises a 401 problem."""
        return self._authenticator.authenticate(bearer_token(request))

    def require_client(self, request: Request, client_id: str) -> None:
        """Pass when the request may see and change this client's data. Raises a 401 or 403 problem."""
        self.principal(request).require_client(client_id)

    def require_ingest(self, request: Request) -> None:
        """Pass when the request may hand exchanges in. Raises a 401 or 403 problem."""
        self.principal(request).require_ingest()


def path_client(request: Request) -> str:
    """Return the client id in the path. Raises a 400 problem."""
    client_id: str = request.path_params["client"]
    if not is_client_id(client_id):
        raise Problem(400, "client_id_malformed", f"a client id is {CLIENT_ID_RULE}")
    return client_id


def path_uuid(request: Request, name: str) -> UUID:
    """Return an id in the path. Raises a 400 problem."""
    raw: str = request.path_params[name]
    try:
        return parse_uuid(raw)
    except ValueError:
        raise Problem(400, f"{name}_id_malformed", f"an id is {UUID_RULE}") from None


def query_limit(request: Request) -> int:
    """Return how many items a page may have. Raises a 400 problem."""
    raw = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", raw) or not 1 <= int(raw) <= MAX_LIMIT:
        raise Problem(400, "limit_malformed", f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(raw)


def asking_client(principal: Principal) -> str | None:
    """Return whose data alone this principal may see, so that a store need not look at any other's; None: anybody's."""
    return None if principal.unchecked else principal.subject
