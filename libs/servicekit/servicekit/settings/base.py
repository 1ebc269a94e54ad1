"""The base of settings classes: where values come from and how they are read."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from servicekit.settings.fields import is_list, is_service_link
from servicekit.settings.sizes import parse_byte_size

ByteSize = Annotated[int, BeforeValidator(parse_byte_size)]
"""A whole number of bytes; its variable takes `16777216`, `16MiB`, `16 MiB` or `16MB` (decimal)."""


class _Environment(EnvSettingsSource):
    """The environment without the service links of Kubernetes."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if not is_service_link(value)}


class ServiceSettings(BaseSettings):
    """Base of the settings of a service. Frozen. Values come from the environment, then from `.env`.

    A subclass sets `model_config = SettingsConfigDict(env_prefix="CHAT_")` and gives each field a default, bounds
    and `Field(description=...)`: that text is the documentation. A name that ends in `_seconds`, `_ms` or `_bytes`
    tells its unit. A field `tuple[X, ...]` reads a comma-separated list. An empty variable counts as unset. A
    error that concerns several fields is a `ValueError` of a `model_validator`, naming the variables.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        # Lists are comma-separated, not JSON; see _split_lists.
        enable_decoding=False,
        extra="ignore",
        allow_inf_nan=False,
        # An uncaught exception must not print a secret.
        hide_input_in_errors=True,
        validate_default=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced by our own
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment through `_Environment`."""
        return init_settings, _Environment(settings_cls), dotenv_settings, file_secret_settings

    @field_validator("*", mode="before")
    @classmethod
    def _split_lists(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str) and info.field_name and is_list(cls.model_fields[info.field_name].annotation):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
