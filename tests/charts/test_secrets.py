"""Secrets that are made as the README says hold what the services can use."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chat_service.settings import ChatSettings
from history_service.settings import HistorySettings
from servicekit.settings import load
from servicekit.tokens import JwtAuth
from tests.charts.environment import environment
from tests.charts.readme import make_secrets
from tests.charts.release import merged, release

NAMES = {
    "auth": {"existingSecret": "chatbot-auth"},
    "redis": {"existingSecret": "chatbot-redis"},
    "mongodb": {"existingSecret": "chatbot-mongodb"},
    "s3": {"existingSecret": "chatbot-s3", "bucket": "media"},
}
FILES = {
    "redis-url": "rediss://:password@redis.example.com:6379/0",
    "mongodb-url": "mongodb://user:password@mongodb.example.com/?replicaSet=rs0&tls=true",
    "access-key-id": "AKIAEXAMPLE",
    "secret-access-key": "wJalrXUtnFEMI/example",
}
STAND_IN = """\
import json, pathlib, sys

create, secret, generic, name, *options = sys.argv[1:]
assert (create, secret, generic) == ("create", "secret", "generic"), sys.argv
assert options[:2] == ["--namespace", "rooms"], options
held = {}
for option, source in zip(options[2::2], options[3::2], strict=True):
    assert option == "--from-file", option
    key, _, file = source.rpartition("=")
    held[key or file] = pathlib.Path(file).read_text()
pathlib.Path(f"{name}.json").write_text(json.dumps(held))
"""
"""Does what kubectl does: the content of a file is the value, to its last byte."""

PARTS: dict[str, type[ChatSettings] | type[HistorySettings]] = {"chat": ChatSettings, "history": HistorySettings}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """What the Secrets hold, by their names and keys."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "kubectl.py").write_text(STAND_IN)
    make_secrets(folder, FILES, f"{sys.executable} {folder / 'kubectl.py'}", "rooms")
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secrets: Mapping[str, Mapping[str, str]]) -> Any:
    """Return a function that starts a service as in its pod, with the Secrets as they were made."""

    def start(part: str) -> Any:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith(("CHAT_", "HISTORY_", "AWS_"))]:
            monkeypatch.delenv(name)
        made = release(merged({name: {} for name in NAMES}, NAMES))
        for name, value in environment(made, part, secrets).items():
            monkeypatch.setenv(name, value)
        return load(PARTS[part], [], prog=part, description="")

    return start


def test_chat_starts_with_them(read: Any) -> None:
    settings = read("chat")
    assert settings.redis_url.get_secret_value() == FILES["redis-url"]
    assert settings.history_token.get_secret_value().isprintable()


def test_history_starts_with_them(read: Any) -> None:
    settings = read("history")
    assert settings.mongodb_url.get_secret_value() == FILES["mongodb-url"]
    assert os.environ["AWS_ACCESS_KEY_ID"] == FILES["access-key-id"]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == FILES["secret-access-key"]


def test_history_takes_the_token_that_chat_shows(read: Any) -> None:
    shown = read("chat").history_token.get_secret_value()
    settings = read("history")
    secrets = [secret.get_secret_value() for secret in settings.token_secrets]
    principal = JwtAuth(secrets, audience=settings.token_audience).authenticate(shown)
    assert principal.may_ingest()
