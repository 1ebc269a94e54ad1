"""Bearer tokens, and the `Principal` that a token proves.

The principal is the caller; the client id names the owner of the data. Services call
`principal.may_act_for(client_id)` and `principal.may_ingest()` and do not read tokens. Tokens are JWTs, signed with
a shared secret (HS256) or by an issuer whose public keys are fetched (RS256, ES256). Another source of identity
needs another `Authenticator`.
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
    TokenErrorCode,
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
    "TokenErrorCode",
    "TokenKey",
    "bearer_token",
    "ends_at",
    "mint",
    "read_keys",
    "shared_secret",
]
