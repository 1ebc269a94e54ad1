"""Properties of a setting by its declaration, and of a variable by its value."""

import re
from typing import Any, get_args, get_origin

from pydantic import SecretBytes, SecretStr
from pydantic_settings import BaseSettings

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def env_prefix(cls: type[BaseSettings]) -> str:
    """Return the prefix of all variables of `cls`, in upper case."""
    return str(cls.model_config.get("env_prefix", "")).upper()


def variable_name(cls: type[BaseSettings], field_name: str) -> str:
    """Return the environment variable of a field."""
    return f"{env_prefix(cls)}{field_name.upper()}"


def is_secret(annotation: Any) -> bool:  # noqa: ANN401 - an annotation can be anything
    """Say whether values of this type must never be shown."""
    if isinstance(annotation, type) and issubclass(annotation, SecretStr | SecretBytes):
        return True
    return any(is_secret(part) for part in get_args(annotation))


def is_list(annotation: Any) -> bool:  # noqa: ANN401 - an annotation can be anything
    """Say whether a field of this type takes a comma-separated list: `tuple[X, ...]`, perhaps `| None`."""
    if get_origin(annotation) is tuple:
        return True
    return any(get_origin(part) is tuple for part in get_args(annotation))


def is_service_link(value: object) -> bool:
    """Say whether a value is a link such as `tcp://10.0.0.7:8000`.

    Kubernetes injects them for each Service of a namespace: a Service named `chat` sets `CHAT_PORT`.
    """
    return isinstance(value, str) and _SERVICE_LINK.fullmatch(value) is not None
