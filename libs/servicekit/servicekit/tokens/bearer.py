"""Finds the token in a request."""

from starlette.requests import HTTPConnection

from servicekit.tokens.principal import TokenError, TokenErrorCode

SUBPROTOCOL_PREFIX = "bearer."


def bearer_token(connection: HTTPConnection) -> str | None:
    """Return the token that came with a request or a WebSocket handshake, or None.

    It is taken from `Authorization: Bearer ...` or, for browsers, from a subprotocol `bearer.<token>`. It is never
    taken from the query, which is written to access logs.

    Raises:
        TokenError: `token_malformed`: another scheme, or more than one token.
    """
    headers = connection.headers.getlist("authorization")
    offered: list[str] = connection.scope.get("subprotocols", [])
    tokens = [name.removeprefix(SUBPROTOCOL_PREFIX) for name in offered if name.startswith(SUBPROTOCOL_PREFIX)]
    if headers and tokens:
        raise TokenError(
            TokenErrorCode.MALFORMED, "send the token in the Authorization header or as a subprotocol, not both"
        )
    if headers:
        scheme, _, token = headers[0].partition(" ")
        token = token.strip(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not token or " " in token:
            raise TokenError(TokenErrorCode.MALFORMED, "the Authorization header must be: Bearer, a space, the token")
        return token
    if len(tokens) > 1:
        raise TokenError(TokenErrorCode.MALFORMED, "offer one bearer subprotocol only")
    return tokens[0] if tokens else None
