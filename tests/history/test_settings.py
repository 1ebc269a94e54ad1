"""Settings of the history service, as whoever starts it meets them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo.uri_parser import parse_uri

from history_service.settings import HistorySettings
from servicekit.settings import load

SECRET = "a secret of at least thirty-two bytes"
PASSWORD = "hunter2"
NO_KEYS = "HISTORY_AUTH=jwt needs HISTORY_TOKEN_SECRETS, HISTORY_TOKEN_JWKS_URL or HISTORY_TOKEN_JWKS_FILE"
LAST_LINE = "python -m history_service: cannot start with these settings; see --help"


def start(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the program in a folder, with these settings alone, until it ends."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("HISTORY_")}
    return subprocess.run(
        [sys.executable, "-m", "history_service", *arguments],
        env={**usual, "COLUMNS": "100", **{f"HISTORY_{name}": value for name, value in settings.items()}},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **settings: str) -> list[str]:
    """What the program says of its settings before it ends, without starting a process."""
    for name in [name for name in os.environ if name.startswith("HISTORY_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(f"HISTORY_{name}", value)
    with pytest.raises(SystemExit) as left:
        load(HistorySettings, [], prog="python -m history_service", description="")
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


@pytest.mark.parametrize(
    ("settings", "mistakes"),
    [
        pytest.param({"PORT": "70000"}, ['HISTORY_PORT: must be at most 65535 (got "70000")'], id="port too high"),
        pytest.param(
            {"PORT": "http", "DRAIN_SECONDS": "0", "LOG_FORMAT": "xml"},
            [
                'HISTORY_PORT: must be a whole number (got "http")',
                'HISTORY_LOG_FORMAT: must be one of auto, json, console (got "xml")',
                'HISTORY_DRAIN_SECONDS: must be more than 0 (got "0")',
            ],
            id="several at once",
        ),
        pytest.param(
            {"MAX_BATCH_BYTES": "64 apples"},
            ['HISTORY_MAX_BATCH_BYTES: must be a size in bytes such as 16777216, 16MiB or 64kB (got "64 apples")'],
            id="size",
        ),
        pytest.param(
            {"MAX_BATCH_BYTES": "1000"},
            ['HISTORY_MAX_BATCH_BYTES: must be at least 1024 (got "1000")'],
            id="tiny batch",
        ),
        pytest.param(
            {"MAX_BATCH_BYTES": "256MiB"},
            ["HISTORY_MAX_INGEST_BYTES must be at least HISTORY_MAX_BATCH_BYTES"],
            id="no room for a batch",
        ),
        pytest.param(
            {"MONGODB_URL": "http://localhost"},
            ["HISTORY_MONGODB_URL: must begin with mongodb:// or mongodb+srv://"],
            id="no MongoDB",
        ),
        pytest.param(
            {"AUTH": "jwt"},
            [NO_KEYS],
            id="tokens without a secret",
        ),
        pytest.param(
            {"S3_ENDPOINT_URL": "http://localhost:9000"},
            ["HISTORY_S3_ENDPOINT_URL needs HISTORY_S3_BUCKET"],
            id="S3 without a bucket",
        ),
        pytest.param(
            {"S3_REGION": "eu-central-1", "S3_BUCKET": ""},
            ["HISTORY_S3_REGION needs HISTORY_S3_BUCKET"],
            id="S3 with an empty bucket",
        ),
        pytest.param(
            {"S3_CREATE_BUCKET": "true"}, ["HISTORY_S3_CREATE_BUCKET needs HISTORY_S3_BUCKET"], id="S3 to be made"
        ),
        pytest.param(
            {"S3_ENCRYPTION": "AES256"}, ["HISTORY_S3_ENCRYPTION needs HISTORY_S3_BUCKET"], id="encryption without S3"
        ),
        pytest.param({"S3_PREFIX": "blue"}, ["HISTORY_S3_PREFIX needs HISTORY_S3_BUCKET"], id="prefix without S3"),
        pytest.param(
            {"S3_BUCKET": "media", "S3_PREFIX": "../blue"},
            ['HISTORY_S3_PREFIX: must be folder names of A-Z a-z 0-9 . _ - with slashes between them (got "../blue")'],
            id="no prefix",
        ),
        pytest.param(
            {"S3_BUCKET": "media", "S3_KMS_KEY_ID": "ours"},
            ["HISTORY_S3_KMS_KEY_ID needs HISTORY_S3_ENCRYPTION=aws:kms"],
            id="a key without its encryption",
        ),
        pytest.param(
            {"RETENTION_DAYS": "0", "ORPHAN_HOURS": "0.5"},
            [
                'HISTORY_RETENTION_DAYS: must be more than 0 (got "0")',
                'HISTORY_ORPHAN_HOURS: must be at least 1 (got "0.5")',
            ],
            id="everything swept at once",
        ),
        pytest.param(
            {"MONGODB_URL": f"mongodb://anna:{PASSWORD}@host/?tls=true&tlsCAFile=/nowhere/ca.pem"},
            ["HISTORY_MONGODB_URL: names a file for TLS that cannot be used: No such file or directory"],
            id="an authority that is not there",
        ),
        pytest.param({"AUTH": "basic"}, ['HISTORY_AUTH: must be one of none, jwt (got "basic")'], id="unknown auth"),
        pytest.param(
            {"AUTH": "jwt", "TOKEN_SECRETS": f"{SECRET},{PASSWORD}"},
            ["HISTORY_TOKEN_SECRETS: a token secret must be at least 32 bytes long (this one has 7)"],
            id="short secret",
        ),
    ],
)
def test_each_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    mistakes: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaints(monkeypatch, capsys, **settings) == [*mistakes, LAST_LINE]


def test_the_program_ends_with_its_mistakes(tmp_path: Path) -> None:
    ended = start(tmp_path, PORT="70000", LOG_FORMAT="xml")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        'HISTORY_PORT: must be at most 65535 (got "70000")',
        'HISTORY_LOG_FORMAT: must be one of auto, json, console (got "xml")',
        LAST_LINE,
    ]


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        f"mongodb://anna:{PASSWORD}@",
        f"mongodb://anna:{PASSWORD}/@host",
        f"mongodb://anna:{PASSWORD}@host:port",
        f"mongodb://anna:{PASSWORD}@host:99999",
        f"mongodb://anna:{PASSWORD}@host/?tls=maybe",
        f"mongodb://anna:{PASSWORD}@host/?nonsense=1",
    ],
)
def test_an_address_of_mongodb_is_checked_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told, last = complaints(monkeypatch, capsys, MONGODB_URL=url)
    assert told.startswith("HISTORY_MONGODB_URL: must be mongodb://host:port")
    assert last == LAST_LINE
    assert PASSWORD not in told


def test_a_password_of_mongodb_may_come_by_itself() -> None:
    given = {"mongodb_url": "mongodb://anna@one:1,two:2/?replicaSet=rs0", "mongodb_password": "a@b/c:%"}
    url = HistorySettings.model_validate(given).mongodb_url
    assert url is not None
    assert url.get_secret_value() == "mongodb://anna:a%40b%2Fc%3A%25@one:1,two:2/?replicaSet=rs0"
    parsed = parse_uri(url.get_secret_value())
    assert (parsed["username"], parsed["password"], len(parsed["nodelist"])) == ("anna", "a@b/c:%", 2)


def test_a_password_of_mongodb_without_a_user_is_a_mistake(tmp_path: Path) -> None:
    done = start(tmp_path, MONGODB_URL="mongodb://one", MONGODB_PASSWORD=PASSWORD)
    assert done.stderr.splitlines() == ["HISTORY_MONGODB_URL: names no user for the password", LAST_LINE]


def test_an_unknown_variable_is_warned_of(tmp_path: Path) -> None:
    ended = start(tmp_path, METRIC_PORT="9001", PORT="-1")
    warning, mistake, _ = ended.stderr.splitlines()
    assert warning == "warning: HISTORY_METRIC_PORT is not a setting; did you mean HISTORY_METRICS_PORT?"
    assert mistake.startswith("HISTORY_PORT: must be at least 0")


def test_an_argument_is_refused(tmp_path: Path) -> None:
    ended = start(tmp_path, "--port", "8001")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        'python -m history_service: unknown argument "--port": settings are environment variables, see --help'
    ]


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_lists_every_variable(tmp_path: Path, argument: str) -> None:
    ended = start(tmp_path, argument, PORT="wrong, and not looked at")
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = re.findall(r"^(HISTORY_\w+)  ", ended.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(f"HISTORY_{name.upper()}" for name in HistorySettings.model_fields)


def test_the_version(tmp_path: Path) -> None:
    ended = start(tmp_path, "--version")
    assert ended.returncode == 0
    assert re.fullmatch(r"python -m history_service \d+\.\d+\.\d+\S*\n", ended.stdout)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HISTORY_PORT=8100\nHISTORY_METRICS_PORT=-5\nHISTORY_AUTH=\n")
    ended = start(tmp_path, PORT="70001")
    assert ended.stderr.splitlines() == [
        'HISTORY_PORT: must be at most 65535 (got "70001")',
        'HISTORY_METRICS_PORT: must be at least 0 (got "-5")',
        LAST_LINE,
    ]
