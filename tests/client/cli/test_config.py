"""What is kept in the config file, and the address of history that the chat service tells."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from chat_client import ClientError, Unreachable
from chat_client.cli.prompts import lines_of_earlier_runs
from chat_client.installation import learn_history_address
from tests.client.conftest import Chatbot, Cli
from tests.client.standins import denial, echo, talking


def test_what_is_kept_need_not_be_said(chatbot: Chatbot, cli: Cli, tmp_path: Path) -> None:
    file = {"CHAT_CONFIG": str(tmp_path / "folder" / "config.toml")}
    for name, value in (("url", chatbot.url), ("client-id", "kept"), ("time-zone", "Asia/Tokyo")):
        assert cli("config", "set", name, value, **file).returncode == 0
    shown = cli("config", "show", **file).stdout
    assert shown == f'url = "{chatbot.url}"\nclient-id = "kept"\ntime-zone = "Asia/Tokyo"\n'
    said = cli("send", "text", "say", "it", "was", "kept", "--json", **file)
    assert (said.returncode, json.loads(said.stdout)["text"]) == (0, "it was kept")
    talked = cli("connect", stdin="What time is it?\n", **file)
    assert "Asia/Tokyo" in talked.stdout
    assert "connected as kept (Asia/Tokyo)" in talked.stderr
    read = cli("history", "--json", **file)
    assert read.returncode == 0
    assert json.loads(read.stdout.splitlines()[0])["text"] == "What time is it?"
    assert cli("config", "unset", "client-id", **file).returncode == 0
    assert "--client-id" in cli("send", "text", "hello", **file).stderr


def test_the_command_line_counts_more_than_a_variable_and_that_more_than_the_file(
    chatbot: Chatbot, cli: Cli, tmp_path: Path
) -> None:
    kept = {"CHAT_CONFIG": str(tmp_path / "config.toml"), "CHAT_URL": chatbot.url}
    (tmp_path / "config.toml").write_text('url = "ws://127.0.0.1:9"\nclient-id = "filed"\n')
    said = cli("connect", stdin="", **kept)
    assert "connected as filed" in said.stderr
    assert "connected as variable" in cli("connect", stdin="", **kept, CHAT_CLIENT_ID="variable").stderr
    assert "connected as said" in cli("connect", "--client-id", "said", stdin="", **kept, CHAT_CLIENT_ID="no").stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [("url = ", "cannot be read"), ('speed = "high"', '"speed" is not known'), ("url = 7", '"url" is not known, or')],
)
def test_a_file_that_is_wrong_is_told(cli: Cli, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    done = cli("sessions", "--client-id", "anna", CHAT_CONFIG=str(tmp_path / "config.toml"))
    assert done.returncode == 2
    assert says in done.stderr
    assert "config.toml" in done.stderr


def test_a_file_may_begin_with_a_byte_order_mark(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('client-id = "anna"\n', "utf-8-sig")
    assert cli("config", "show", CHAT_CONFIG=str(file)).stdout == 'client-id = "anna"\n'


def test_a_file_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = cli("config", "set", "url", "ws://x", CHAT_CONFIG=str(tmp_path / "taken" / "config.toml"))
    assert done.returncode == 2
    assert "cannot be" in done.stderr


def test_odd_values_are_kept_as_they_are(cli: Cli, tmp_path: Path) -> None:
    file = {"CHAT_CONFIG": str(tmp_path / "config.toml")}
    value = 'C:\\new\t"folder"'
    assert cli("config", "set", "save-to", value, **file).returncode == 0
    shown = cli("config", "show", **file).stdout
    assert shown.encode().decode("unicode_escape") == f'save-to = "{value}"\n'
    assert cli("config", "path", **file).stdout == file["CHAT_CONFIG"] + "\n"


def test_chat_tells_where_history_is(chatbot: Chatbot) -> None:
    assert learn_history_address(chatbot.url) == chatbot.history_url
    assert learn_history_address(f"{chatbot.url}/connect") == chatbot.history_url


def test_history_itself_does_not(chatbot: Chatbot) -> None:
    with pytest.raises(Unreachable, match="--history"):
        learn_history_address(chatbot.history_url)


async def test_something_else_that_answers_is_told() -> None:
    for answer in (b"<h1>Welcome</h1>", b"[]", b'{"history": 7}'):
        async with talking(echo, process_request=denial(200, answer)) as url:
            with pytest.raises(ClientError):
                await asyncio.to_thread(learn_history_address, url)


def test_the_address_of_history_is_learnt_by_commands(chatbot: Chatbot, cli: Cli) -> None:
    cli("send", "text", chatbot.url, "say learnt", "--client-id", "learner")
    done = cli("history", "--client-id", "learner", CHAT_URL=chatbot.url)
    assert done.returncode == 0
    assert "learnt" in done.stdout
    nowhere = cli("history", "--client-id", "learner", CHAT_URL="ws://127.0.0.1:9")
    assert nowhere.returncode == 5
    assert "--history" in nowhere.stderr


def test_lines_of_earlier_runs_are_for_this_person_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.get_app_dir", lambda _name: str(tmp_path / "app"))
    history = lines_of_earlier_runs()
    history.append_string("a secret")
    file = tmp_path / "app" / "lines"
    assert "a secret" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
