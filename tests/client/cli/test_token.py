"""Tokens at the command line: made, shown to the servers, and told of when they do not count any more."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import jwt
import pytest
from click.testing import CliRunner, Result

from chat_client.cli import main
from chat_client.errors import ConnectionLost, Refused
from chat_client.tokens import mint
from devtools.processes import running
from servicekit.tokens import JwtAuth
from tests.client.conftest import SAMPLES, Chatbot, Cli, as_chatbot, settings

SECRET = "a secret of at least thirty-two bytes"
VOICE = SAMPLES / "hello.mp3"
OLD_SECRET = "the secret that was used until today"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatbot]:
    """A chatbot that asks for tokens, with all the secrets and the token of its own that this needs."""
    folder = tmp_path_factory.mktemp("guarded")
    secrets = f"{SECRET},{OLD_SECRET}"
    service_token = mint(SECRET, subject="chat", audience="chatbot", lifetime=timedelta(hours=1), scope="ingest")
    given = settings(
        folder,
        CHAT_AUTH="jwt",
        HISTORY_AUTH="jwt",
        CHAT_TOKEN_SECRETS=secrets,
        HISTORY_TOKEN_SECRETS=secrets,
        CHAT_TOKEN_LEEWAY_SECONDS=0,
        CHAT_HISTORY_TOKEN=service_token,
    )
    with running("standalone", folder / "log", given) as service:
        yield as_chatbot(service)


def make(*words: str, **variables: str) -> Result:
    """Call `chat-client token` in this process."""
    clean = dict.fromkeys(("CHAT_CLIENT_ID", "CHAT_TOKEN", "CHAT_TOKEN_FILE"))
    return CliRunner().invoke(main, ["token", *words], env={**clean, "CHAT_TOKEN_SECRET": SECRET, **variables})


def made(*words: str, **variables: str) -> str:
    done = make(*words, **variables)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def test_a_token_talks_and_reads_back_for_its_client_only(guarded: Chatbot, cli: Cli, tmp_path: Path) -> None:
    anna, ben = made("--client-id", "anna"), made("--client-id", "ben")
    (tmp_path / "anna.token").write_text(f"{anna}\n", "utf-8-sig")  # as some editors save it
    by_file = ("--client-id", "anna", "--token-file", "anna.token")
    said = cli("send", "voice", guarded.url, VOICE, *by_file)
    assert (said.returncode, said.stderr) == (0, "")
    history = ("--history", guarded.history_url)
    deadline = time.monotonic() + 30
    while True:
        told = cli("history", *by_file, *history, "--json")
        if told.stdout or time.monotonic() > deadline:
            break
    request, reply = (json.loads(line) for line in told.stdout.splitlines())
    assert (request["kind"], reply["kind"]) == ("voice", "voice")
    address = cli("media", request["id"], "voice", "--address", *by_file[2:], *history)
    assert (address.returncode, address.stderr) == (0, "")
    with urlopen(address.stdout.strip()) as opened:
        assert opened.read() == VOICE.read_bytes()
    refused = cli("media", request["id"], "voice", "--address", *history, CHAT_TOKEN=ben)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "refused (404 message_unknown)" in refused.stderr
    assert cli("sessions", "--client-id", "anna", *history, CHAT_TOKEN=anna).stdout.count("\n") == 2
    for words in (["send", "text", guarded.url, "hi"], ["sessions", *history]):
        refused = cli(*words, "--client-id", "anna", CHAT_TOKEN=ben)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert "refused (403 " in refused.stderr


@pytest.mark.parametrize(
    ("token", "code"), [(None, "token_missing"), ("garbled", "token_malformed"), ("expired", "token_expired")]
)
def test_a_token_that_does_not_count_is_one_line_and_exit_code_3(
    guarded: Chatbot, cli: Cli, token: str | None, code: str
) -> None:
    if token == "expired":
        token = jwt.encode({"sub": "anna", "aud": "chatbot", "exp": int(time.time()) - 60}, SECRET)
    variables = {} if token is None else {"CHAT_TOKEN": token}
    for words in (["connect", guarded.url], ["sessions", "--history", guarded.history_url]):
        done = cli(*words, "--client-id", "anna", **variables)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"refused (401 {code}): " in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert token is None or token not in done.stderr


def test_a_connection_that_outlives_its_token_says_so_with_the_same_exit_code() -> None:
    ended = ConnectionLost(4003)
    assert str(ended) == "the token has expired (4003)"
    assert (ended.exit_code, ended.may_reconnect) == (Refused.exit_code, False)
    assert ConnectionLost(1012).exit_code == 5


def test_what_is_made_is_what_the_services_take(tmp_path: Path) -> None:
    auth = JwtAuth([OLD_SECRET, SECRET], audience="tea", issuer="us")
    (tmp_path / "secret").write_text(f"{SECRET},{OLD_SECRET}\n")
    words = ("--audience", "tea", "--issuer", "us", "--secret-file", str(tmp_path / "secret"))
    client = auth.authenticate(made("--client-id", "anna", *words, CHAT_TOKEN_SECRET=""))
    assert client.may_act_for("anna")
    assert not client.may_ingest()
    service = auth.authenticate(made("--ingest", *words, CHAT_CLIENT_ID="anna"))
    assert service.may_ingest()
    assert not service.may_read_context()
    reader = auth.authenticate(made("--context", *words, CHAT_CLIENT_ID="anna"))
    assert reader.may_read_context()
    assert not reader.may_ingest()
    assert not reader.may_act_for("chat")
    assert not service.may_act_for("anna")


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [("90s", 90), ("15m", 900), ("8h", 28_800), ("30d", 2_592_000), (None, 3600)]
)
def test_how_long_it_counts(lifetime: str | None, seconds: int) -> None:
    words = [] if lifetime is None else ["--lifetime", lifetime]
    claims = jwt.decode(made("--client-id", "anna", *words), SECRET, algorithms=["HS256"], audience="chatbot")
    assert claims["exp"] - claims["iat"] == seconds
    assert abs(claims["iat"] - time.time()) < 60


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ([], {}, "whom is the token for?"),
        (["--client-id", "anna", "--ingest"], {}, "a token is for a client or for the chat service"),
        (["--client-id", "anna"], {"CHAT_TOKEN_SECRET": ""}, "set CHAT_TOKEN_SECRET"),
        (["--client-id", "anna"], {"CHAT_TOKEN_SECRET": "hunter2"}, "at least 32 bytes"),
        (["--client-id", "anna", "--secret-file", "empty"], {}, "does not hold a secret"),
        (["--client-id", "anna", "--secret-file", "binary"], {}, "does not hold a secret"),
        (["--client-id", "anna", "--secret-file", "none"], {}, "does not exist"),
        (["--client-id", "anna", "--lifetime", "forever"], {}, "is not a duration"),
        (["--client-id", "anna", "--lifetime", "0s"], {}, "is not a duration"),
        (["--client-id", "anna", "--lifetime", "999d"], {}, "is not a duration"),
        (["--client-id", "anna", "--secret", SECRET], {}, "No such option"),
    ],
)
def test_a_token_that_cannot_be_made_is_a_wrong_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], variables: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    done = make(*words, **variables)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert "hunter2" not in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("token", ["two words", "tökn", "a\x07b"])
def test_a_variable_without_a_token_is_a_wrong_command_line(cli: Cli, token: str) -> None:
    done = cli("sessions", "--client-id", "anna", CHAT_TOKEN=token)
    assert (done.returncode, done.stdout) == (2, "")
    assert "CHAT_TOKEN does not hold a token" in done.stderr
    assert token not in done.stderr
