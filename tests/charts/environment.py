"""The environment of a container, as a kubelet would put it together."""

from collections.abc import Mapping
from typing import Any, Final

from tests.charts.release import Release

ADDRESSES: Final = {
    "chat": "rediss://:secret@redis:6379/0",
    "history": "mongodb://user:secret@mongodb/?replicaSet=rs0",
}
SECRETS: Final = {
    "token-secrets": "first-secret-of-at-least-32-bytes,second-secret-of-at-least-32-byte",
    "address-secrets": "a-secret-that-signs-addresses-of-media",
    "context-token": "a-token-that-reads-history",
    "history-token": "a.service.token",
    "api-key": "the-key-of-a-model",
    "speech-key": "the-key-of-a-service-for-speech",
    "bot-secret": "a-secret-that-signs-requests-to-a-bot",
    "access-key-id": "key-id",
    "secret-access-key": "key",
    "password": "a@b/c:%",
}
"""What the Secrets that people make would hold, by key."""


def environment(made: Release, part: str, secrets: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, str]:
    """Return the variables of chat or history; those of its ConfigMap first, as they are overridden.

    Args:
        made: the release.
        part: chat or history.
        secrets: what Secrets hold, by their names and keys; without it, what people would put there.
    """
    container = made.container(part)
    variables: dict[str, str] = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            variables.update(made.one("ConfigMap", source["configMapRef"]["name"])["data"])
    variables.update({one["name"]: _value(one, part, secrets) for one in container.get("env", [])})
    return variables


def _value(variable: Mapping[str, Any], part: str, secrets: Mapping[str, Mapping[str, str]] | None) -> str:
    if "value" in variable:
        return str(variable["value"])
    source = variable["valueFrom"]["secretKeyRef"]
    key = source["key"]
    if secrets is not None:
        return secrets[source["name"]][key]
    return ADDRESSES[part] if key == "url" else SECRETS[key]
