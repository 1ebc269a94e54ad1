"""Kinds of settings that several parts of the service have."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr


def _base_url(url: AnyHttpUrl) -> AnyHttpUrl:
    """Check that paths can be put behind it."""
    if url.query is not None or url.fragment is not None:
        raise ValueError("must be an address without a query and a fragment")
    return url


def _header_value(secret: SecretStr) -> SecretStr:
    """Check that it can be sent as a header."""
    token = secret.get_secret_value()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("must be a token: printable ASCII without spaces and line feeds")
    return secret


Seconds = Annotated[float, Field(gt=0, le=86_400)]
BaseUrl = Annotated[AnyHttpUrl, AfterValidator(_base_url)]
Token = Annotated[SecretStr, AfterValidator(_header_value)]
