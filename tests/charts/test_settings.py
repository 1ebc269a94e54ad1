"""What the chart puts into the environment are settings, and every setting can be reached through the chart."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from chat_service.bot.script import load_script
from chat_service.settings import ChatSettings
from history_service.settings import HistorySettings
from tests.charts.cases import LEAST, OPEN, SWITCHES
from tests.charts.environment import SECRETS, environment
from tests.charts.release import Release, merged, refusal, release, text
from tests.charts.settings_schema import SCHEMA, SERVICES, definition, variables

cases = pytest.mark.parametrize("values", SWITCHES.values(), ids=SWITCHES.keys())
PARTS: dict[str, type[BaseSettings]] = {"chat": ChatSettings, "history": HistorySettings}
parts = pytest.mark.parametrize("part", PARTS)
OF_LIBRARIES = {"SSL_CERT_FILE", "AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
SCRIPT_IN_POD = "/etc/chatbot/bot/script.toml"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that reads the settings as the service would in its pod."""

    def read(made: Release, part: str) -> Any:
        monkeypatch.chdir(tmp_path)
        for name in os.environ:
            if name.startswith(("CHAT_", "HISTORY_")):
                monkeypatch.delenv(name)
        for name, value in environment(made, part).items():
            monkeypatch.setenv(name, value)
        if os.environ.get("CHAT_BOT_SCRIPT") == SCRIPT_IN_POD:
            script = tmp_path / "script.toml"
            script.write_text(made.one("ConfigMap", "-chat-bot")["data"]["script.toml"])
            monkeypatch.setenv("CHAT_BOT_SCRIPT", str(script))
        return PARTS[part]()

    return read


@cases
@parts
def test_the_service_starts_with_what_the_chart_says(values: dict[str, Any], part: str, start: Any) -> None:
    start(release(values), part)


@cases
@parts
def test_every_variable_is_a_setting(values: dict[str, Any], part: str) -> None:
    given = set(environment(release(values), part))
    usual = {one["name"] for one in values.get(part, {}).get("extraEnv", [])}
    assert given - usual <= set(variables(PARTS[part])) | OF_LIBRARIES


@parts
def test_every_setting_can_be_reached(part: str) -> None:
    offered = json.loads(SCHEMA.read_text())["definitions"][f"{part}Settings"]["properties"]
    given = {name for values in SWITCHES.values() for name in environment(release(values), part)}
    assert variables(PARTS[part]).keys() - set(offered) - given == set(), "the chart needs a value for these"
    asked_for = {name for values in SWITCHES.values() for name in (values.get(part, {}).get("settings") or {})}
    assert given & set(offered) <= asked_for | {"CHAT_OUTBOX_FSYNC"}


@pytest.mark.parametrize("name", SERVICES)
def test_the_schema_knows_the_settings(name: str) -> None:
    held = json.loads(SCHEMA.read_text())["definitions"][name]
    assert held == definition(SERVICES[name]), "settings have changed: ./taskw charts:schema"


def test_values_arrive_in_the_service(start: Any) -> None:
    values = merged(
        OPEN,
        {
            "limits": {
                "connections": 10_000_000,
                "connectionsPerClient": 7,
                "messages": 2_500_000,
                "waiting": 0,
                "leaseSeconds": 7.5,
            },
            "sizing": {
                "maxFrameMiB": 3,
                "maxConnectionMiB": 9,
                "maxPodMiB": 77,
                "mediaProcesses": 5,
                "connectionsPerPod": 10,
            },
            "log": {"level": "warning", "format": "console"},
            "listenAddress": "::",
            "drainSeconds": 40,
            "chat": {
                "replicas": 1_000_000,
                "outbox": {"maxMiB": 333},
                "speech": {"mode": "embedded", "processes": 2, "maxProcessMiB": 2048, "maxRecordings": 9},
                "settings": {"CHAT_OUTBOX_FSYNC": "always", "CHAT_WINDOW": 12},
            },
        },
    )
    chat: ChatSettings = start(release(values), "chat")
    assert (chat.max_connections, chat.max_connections_per_client, chat.max_messages) == (10_000_000, 7, 2_500_000)
    assert chat.max_connections_per_pod == 10
    assert (chat.max_waiting, chat.lease_seconds) == (0, 7.5)
    assert (chat.max_frame_bytes, chat.max_connection_bytes) == (3 * 2**20, 9 * 2**20)
    assert (chat.max_pod_bytes, chat.outbox_max_bytes, chat.media_processes) == (77 * 2**20, 333 * 2**20, 5)
    assert (chat.log_level, chat.log_format, chat.host) == ("warning", "console", "::")
    assert (chat.drain_seconds, chat.outbox_fsync, chat.window) == (40, "always", 12)
    assert (chat.speech, chat.speech_processes, chat.speech_memory) == ("embedded", 2, 2 * 2**30)
    assert chat.speech_max_recordings == 9
    assert (chat.auth, str(chat.data_dir), chat.history_token) == ("none", "/data", None)
    assert str(chat.history_url) == "http://talk-chatbot-history:8001/"
    assert chat.redis_url is not None
    assert chat.redis_url.get_secret_value() == "redis://redis:6380/0"
    history: HistorySettings = start(release(values), "history")
    assert (history.s3_bucket, str(history.s3_endpoint_url)) == ("media", "http://s3.storage:8333/")
    assert (history.s3_region, history.s3_create_bucket, history.drain_seconds) == ("us-east-1", True, 40)


def test_tokens_are_asked_for_by_default(start: Any) -> None:
    made = release(LEAST)
    for part in PARTS:
        settings = start(made, part)
        assert settings.auth == "jwt"
        secrets = [one.get_secret_value() for one in settings.token_secrets]
        assert secrets == SECRETS["token-secrets"].split(",")
    assert start(made, "chat").history_token.get_secret_value() == SECRETS["history-token"]


def test_an_issuer_takes_the_place_of_secrets(start: Any) -> None:
    made = release(SWITCHES["issuer"])
    for part in PARTS:
        settings = start(made, part)
        assert (settings.auth, settings.token_secrets, settings.token_issuer) == ("jwt", (), "https://login.example")
        assert str(settings.token_jwks_url) == "https://login.example:8443/keys.json"
    (signs,) = start(made, "history").address_secrets()
    assert signs.get_secret_value() == SECRETS["address-secrets"]
    both = start(release(SWITCHES["issuer beside secrets"]), "history")
    assert (len(both.token_secrets), both.token_issuer) == (2, None)


def test_a_secret_may_hold_the_password_only(start: Any) -> None:
    made = release(SWITCHES["passwords only"])
    redis, mongodb = start(made, "chat").redis_url, start(made, "history").mongodb_url
    assert redis.get_secret_value() == "rediss://chat:a%40b%2Fc%3A%25@redis:6379/0"
    assert mongodb.get_secret_value() == "mongodb://history:a%40b%2Fc%3A%25@one,two/?replicaSet=rs0"


def test_the_script_reaches_the_bot(start: Any) -> None:
    chat = start(release(SWITCHES["settings and script"]), "chat")
    assert load_script(chat.bot_script).name == "Ada"


@cases
def test_config_holds_no_secret(values: dict[str, Any]) -> None:
    made = release(values)
    assert made.all("Secret") == []  # they are made by people, and none of their contents passes through the chart
    for config in made.all("ConfigMap"):
        if "dashboard" not in config["metadata"]["name"]:
            assert not {"SECRET", "TOKEN_SECRETS", "HISTORY_TOKEN", "PASSWORD", "KEY"} & {
                word for name in config["data"] for word in (name, name.rpartition("_")[2], name.partition("_")[2])
            }
            assert not re.search(r"//[^/]*:[^/]*@", text(config["data"]))


@parts
def test_secrets_come_from_secrets_and_only_where_they_are_needed(part: str) -> None:
    container = release(merged(LEAST, {"s3": {"existingSecret": "s3"}})).container(part)
    from_secrets = {
        one["name"]: (one["valueFrom"]["secretKeyRef"]["name"], one["valueFrom"]["secretKeyRef"]["key"])
        for one in container["env"]
    }
    assert (
        from_secrets
        == {
            "chat": {
                "CHAT_REDIS_URL": ("redis", "url"),
                "CHAT_TOKEN_SECRETS": ("tokens", "token-secrets"),
                "CHAT_HISTORY_TOKEN": ("tokens", "history-token"),
            },
            "history": {
                "HISTORY_MONGODB_URL": ("mongodb", "url"),
                "HISTORY_TOKEN_SECRETS": ("tokens", "token-secrets"),
                "AWS_ACCESS_KEY_ID": ("s3", "access-key-id"),
                "AWS_SECRET_ACCESS_KEY": ("s3", "secret-access-key"),
            },
        }[part]
    )


@pytest.mark.parametrize("setting", ["CHAT_REDIS_URL", "CHAT_DRAIN_SECONDS", "CHAT_IDLE", "HISTORY_STORE_SECONDS"])
def test_a_setting_that_is_none_or_has_a_value_of_its_own_is_refused(setting: str) -> None:
    said = refusal(merged(LEAST, {"chat": {"settings": {setting: "1"}}}))
    assert "/chat/settings" in said
    assert f"'{setting}' not allowed" in said


@pytest.mark.parametrize(
    ("setting", "wrong", "why"),
    [
        ("CHAT_WINDOW", 0, "minimum: got 0, want 1"),
        ("CHAT_WINDOW", "ten", "got string, want integer"),
        ("CHAT_OUTBOX_FSYNC", "sometimes", "'never', 'always'"),
        ("CHAT_MAX_TEXT_BYTES", 4194305, "maximum"),
    ],
)
def test_a_setting_out_of_bounds_is_refused(setting: str, wrong: object, why: str) -> None:
    said = refusal(merged(LEAST, {"chat": {"settings": {setting: wrong}}}))
    assert f"/chat/settings/{setting}" in said
    assert why in said


@parts
def test_hosts_that_are_named_come_beside_the_name_of_the_service(part: str, start: Any) -> None:
    variable = f"{part.upper()}_ALLOWED_HOSTS"
    made = release(merged(LEAST, {part: {"settings": {variable: "*.example.com"}}}))
    hosts = start(made, part).served_hosts("0.0.0.0")
    name = next(one["metadata"]["name"] for one in made.all("Service") if one["metadata"]["name"].endswith(f"-{part}"))
    assert hosts.allow("chat.example.com")
    assert hosts.allow(f"{name}:8001")
    assert not hosts.allow("elsewhere")


@parts
def test_without_them_any_host_is_served(part: str, start: Any) -> None:
    assert start(release(OPEN), part).served_hosts("0.0.0.0") is None
