"""The settings of access control, the same in every service."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, model_validator

from servicekit.hosts import AllowedHosts, allowed_hosts, parse_host_pattern
from servicekit.secrets import check_secret
from servicekit.settings.base import ServiceSettings
from servicekit.settings.fields import variable_name
from servicekit.settings.origins import parse_origin

_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}

Origin = Annotated[str, AfterValidator(parse_origin)]
HostPattern = Annotated[str, AfterValidator(parse_host_pattern)]


def _safe_secret(secret: SecretStr) -> SecretStr:
    check_secret(secret.get_secret_value().encode())
    return secret


TokenSecret = Annotated[SecretStr, AfterValidator(_safe_secret)]
"""A secret that signs tokens. It is never shown, and refused when it is too short."""


def _safe_source(url: AnyHttpUrl) -> AnyHttpUrl:
    """Check that the issuer's keys can't be replaced in transit."""
    if url.username or url.password:
        raise ValueError("must be an address without a name and a password")
    if url.scheme != "https" and url.host not in _LOOPBACK:
        raise ValueError("must be an https address: whoever could change the keys on the way could sign tokens")
    return url


class AccessSettings(ServiceSettings):
    """Tokens, hosts, and pages of other origins."""

    allowed_origins: tuple[Origin, ...] = Field(
        (), description="further origins of web pages and apps that may use this service; * for all"
    )
    allowed_hosts: tuple[HostPattern, ...] = Field(
        (),
        description="host names that requests may name, as globs; any without them, or this machine's only on "
        "loopback without tokens",
    )
    auth: Literal["none", "jwt"] = Field(
        "none", description="none: client ids are not checked; jwt: a token proves the client id"
    )
    token_secrets: tuple[TokenSecret, ...] = Field((), description="HS256 secrets of tokens; two while rotating")
    token_jwks_url: Annotated[AnyHttpUrl, AfterValidator(_safe_source)] | None = Field(
        None, description="address of the issuer's key set (JWKS), for RS256 and ES256"
    )
    token_jwks_file: Path | None = Field(None, description="file with the issuer's key set, read again when it is old")
    token_jwks_refresh_seconds: float = Field(
        300, ge=1, le=86_400, description="age at which the issuer's keys are fetched again"
    )
    token_audience: str = Field("chatbot", min_length=1, description="audience (aud) that a token must name")
    token_issuer: str | None = Field(None, description="issuer (iss) that a token must name; any without it")
    token_leeway_seconds: float = Field(10, ge=0, le=300, description="largest difference to the clock of the issuer")

    def served_hosts(self, listens_on: str) -> AllowedHosts | None:
        """Return the hosts that are accepted; None: any."""
        protected = self.auth != "none"
        return allowed_hosts(
            self.allowed_hosts, listens_on=listens_on, protected=protected, setting=self._hosts_variable
        )

    def metrics_hosts(self, listens_on: str) -> AllowedHosts | None:
        """Return the same for the metrics port, which has no tokens and no ingress."""
        return allowed_hosts((), listens_on=listens_on, protected=False, setting=self._hosts_variable)

    @property
    def _hosts_variable(self) -> str:
        return variable_name(type(self), "allowed_hosts")

    @model_validator(mode="after")
    def _tokens_can_be_checked(self) -> Self:
        auth, secrets, url, file = (
            variable_name(type(self), name) for name in ("auth", "token_secrets", "token_jwks_url", "token_jwks_file")
        )
        if self.token_jwks_url is not None and self.token_jwks_file is not None:
            raise ValueError(f"set {url} or {file}, not both")
        if self.auth == "jwt" and not (self.token_secrets or self.token_jwks_url or self.token_jwks_file):
            raise ValueError(f"{auth}=jwt needs {secrets}, {url} or {file}")
        return self
