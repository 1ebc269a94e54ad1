"""The settings of chat, as whoever starts it meets them."""

import os
from pathlib import Path

import pytest
from redis.asyncio.connection import parse_url

from chat_service.settings import ChatSettings
from devtools.programs import run_to_its_end
from servicekit.settings import load

LAST = "python -m chat_service: cannot start with these settings; see --help"
SECRET = "what-nobody-must-ever-see-on-a-screen"
REDIS = "CHAT_REDIS_URL: must be an address such as redis://host:6379/0, or rediss:// for TLS"

HOURS = 'must be hours such as "09:00-17:00" or "08:00-12:00,22:00-02:00", or empty for all day'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without variables of chat."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CHAT_")]:
        monkeypatch.delenv(name)
    return tmp_path


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ChatSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load(ChatSettings, [], prog="python -m chat_service", description="")


def complaints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str) -> list[str]:
    with pytest.raises(SystemExit) as left:
        read(monkeypatch, **variables)
    assert left.value.code == 2
    *said, last = capsys.readouterr().err.splitlines()
    assert last == LAST
    return said


def test_without_any_variable_there_are_sensible_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert (settings.host, settings.max_connections, settings.max_messages) == ("127.0.0.1", 50, 500)
    assert settings.time_zones.serves("Europe/Berlin")


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        "rediss://anna:hunter2@redis.example:6380/15",
        "redis://:hunter2@[::1]:6379/",
        "redis://host?socket_timeout=2",
    ],
)
def test_addresses_of_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    settings = read(monkeypatch, CHAT_REDIS_URL=url)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://host:6379/0", "redis://:a%40b%2Fc%3A%25@host:6379/0"),
        ("rediss://anna@[::1]/1?socket_timeout=2", "rediss://anna:a%40b%2Fc%3A%25@[::1]/1?socket_timeout=2"),
    ],
)
def test_a_password_of_redis_may_come_by_itself(monkeypatch: pytest.MonkeyPatch, url: str, whole: str) -> None:
    settings = read(monkeypatch, CHAT_REDIS_URL=url, CHAT_REDIS_PASSWORD="a@b/c:%")
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == whole
    assert parse_url(whole)["password"] == "a@b/c:%"


def test_two_passwords_of_redis_are_one_too_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = {"CHAT_REDIS_URL": "redis://anna:hunter2@host", "CHAT_REDIS_PASSWORD": "hunter3"}
    said = complaints(monkeypatch, capsys, **two)
    assert said == ["CHAT_REDIS_URL: holds a password already; take it out, or give no other"]


@pytest.mark.parametrize(
    "url",
    [
        "http://hunter2@host",
        "hunter2",
        "localhost:6379",
        "redis:hunter2",
        "redis://",
        "redis://host:hunter2",
        "redis://host:70000",
        "redis://[::1",
        "redis://host/hunter2",
        "unix:///run/redis.sock",
    ],
)
def test_what_is_no_address_of_redis_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert complaints(monkeypatch, capsys, CHAT_REDIS_URL=url) == [REDIS]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        (
            "CHAT_HISTORY_URL",
            "ftp://history",
            'CHAT_HISTORY_URL: must be an address that begins with http or https (got "ftp://history")',
        ),
        (
            "CHAT_REDIS_URL",
            "redis://:hunter2@host/0?nonsense=1",
            "CHAT_REDIS_URL: has an option behind its ? that there is not, or one with a wrong value",
        ),
        (
            "CHAT_REDIS_URL",
            "redis://:hunter2@host/0?socket_timeout=soon",
            "CHAT_REDIS_URL: has an option behind its ? that there is not, or one with a wrong value",
        ),
        (
            "CHAT_REDIS_URL",
            "rediss://:hunter2@host/0?ssl_ca_certs=/nowhere/ca.pem",
            "CHAT_REDIS_URL: ssl_ca_certs names a file that cannot be read",
        ),
        (
            "CHAT_HISTORY_URL",
            "history:8001",
            'CHAT_HISTORY_URL: must be an address that begins with http or https (got "history:8001")',
        ),
        (
            "CHAT_HISTORY_URL",
            "http://anna:hunter2@history/?a=1",
            'CHAT_HISTORY_URL: must be an address without a query and a fragment (got "http://***@history/?a=1")',
        ),
        (
            "CHAT_HISTORY_TOKEN",
            "hunter\n2",
            "CHAT_HISTORY_TOKEN: must be a token: printable ASCII without spaces and line feeds",
        ),
        ("CHAT_AUTH", "jwt", "CHAT_AUTH=jwt needs CHAT_TOKEN_SECRETS, CHAT_TOKEN_JWKS_URL or CHAT_TOKEN_JWKS_FILE"),
        ("CHAT_MAX_FRAME_BYTES", "64MiB", "CHAT_MAX_CONNECTION_BYTES must be at least CHAT_MAX_FRAME_BYTES"),
        ("CHAT_OUTBOX_MAX_BYTES", "1MiB", "CHAT_OUTBOX_MAX_BYTES must be at least twice CHAT_MAX_FRAME_BYTES"),
        ("CHAT_MAX_TEXT_BYTES", "0", 'CHAT_MAX_TEXT_BYTES: must be at least 1 (got "0")'),
        ("CHAT_MAX_TEXT_BYTES", "5MiB", 'CHAT_MAX_TEXT_BYTES: must be at most 4194304 (got "5242880")'),
        ("CHAT_WINDOW", "0", 'CHAT_WINDOW: must be at least 1 (got "0")'),
        ("CHAT_LEASE_SECONDS", "0.1", 'CHAT_LEASE_SECONDS: must be at least 0.5 (got "0.1")'),
        ("CHAT_DRAIN_SECONDS", "-1", 'CHAT_DRAIN_SECONDS: must be more than 0 (got "-1")'),
        (
            "CHAT_HOURS_TEXT",
            "9-17",
            f'CHAT_HOURS_TEXT: {HOURS} (got "9-17")',
        ),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, line: str
) -> None:
    assert complaints(monkeypatch, capsys, **{variable: value}) == [line]


def test_a_program_with_wrong_settings_tells_all_mistakes_and_leaves(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(f"CHAT_WINDOW=0\nCHAT_TOKEN_SECRETS=short,{SECRET}\n")
    ended = run_to_its_end(
        "chat_service", elsewhere, CHAT_PORT="many", CHAT_REDIS_URL=f"http://{SECRET}", CHAT_PROT="1"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "warning: CHAT_PROT is not a setting; did you mean CHAT_PORT?",
        "CHAT_TOKEN_SECRETS: a token secret must be at least 32 bytes long (this one has 5)",
        'CHAT_PORT: must be a whole number (got "many")',
        REDIS,
        'CHAT_WINDOW: must be at least 1 (got "0")',
        LAST,
    ]


def test_help_explains_every_setting_without_colours_where_nobody_sees_them(elsewhere: Path) -> None:
    ended = run_to_its_end("chat_service", elsewhere, "--help", CHAT_PORT="many", COLUMNS=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    missing = [name for name in ChatSettings.model_fields if f"CHAT_{name.upper()} " not in ended.stdout]
    assert missing == []
    assert all(field.description for field in ChatSettings.model_fields.values())


def test_a_script_that_cannot_be_read_is_one_line(elsewhere: Path) -> None:
    ended = run_to_its_end("chat_service", elsewhere, CHAT_BOT_SCRIPT="missing.toml", CHAT_PORT=0, CHAT_METRICS_PORT=0)
    line = "CHAT_BOT_SCRIPT: missing.toml: cannot be read (No such file or directory); name a TOML file\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_no_file_is_read_while_settings_are_checked(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BOT_SCRIPT", "LLM_PROMPT_FILE", "LLM_API_KEY_FILE", "TOKEN_JWKS_FILE"):
        monkeypatch.setenv(f"CHAT_{variable}", str(elsewhere / "missing"))
    assert load(ChatSettings, [], prog="", description="").bot_script == elsewhere / "missing"


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("/dev/null/chat", "/dev/null/chat/outbox cannot be used: "),
        ("file", "file/outbox cannot be used: "),
    ],
)
def test_a_data_folder_that_cannot_be_is_one_line(elsewhere: Path, where: str, line: str) -> None:
    (elsewhere / "file").touch()
    ended = run_to_its_end("chat_service", elsewhere, CHAT_DATA_DIR=where, CHAT_PORT=0, CHAT_METRICS_PORT=0)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert line in ended.stderr
    assert "set CHAT_DATA_DIR" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
