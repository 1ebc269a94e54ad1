"""Who asks: bearer tokens, checked into a `Principal`.

A principal (who asks) is a thing of its own, apart from the client id (whose data): services ask
`principal.may_act_for(client_id)` and `principal.may_ingest()` and know nothing of tokens. Tokens are JWTs, signed with
a shared secret (HS256) or by an issuer whose public keys are fetched (RS256, ES256); another source of identity is
another `Authenticator`.
"""

from servicekit.tokens.bearer import SUBPROTOCOL_PREFIX, bearer_token
from servicekit.tokens.jwt_auth import MAX_TOKEN_LENGTH, JwtAuth
from servicekit.tokens.key_set import KeySet
from servicekit.tokens.keys import KeySetError, KeysUnavailable, TokenKey, read_keys, shared_secret
from servicekit.tokens.minting import ends_at, mint
from servicekit.tokens.principal import (
    CONTEXT_SCOPE,
    INGEST_SCOPE,
    AccessDenied,
    Authenticator,
    NoAuth,
    Principal,
    TokenError,
)

__all__ = [
    "CONTEXT_SCOPE",
    "INGEST_SCOPE",
    "MAX_TOKEN_LENGTH",
    "SUBPROTOCOL_PREFIX",
    "AccessDenied",
    "Authenticator",
    "JwtAuth",
    "KeySet",
    "KeySetError",
    "KeysUnavailable",
    "NoAuth",
    "Principal",
    "TokenError",
    "TokenKey",
    "bearer_token",
    "ends_at",
    "mint",
    "read_keys",
    "shared_secret",
]
