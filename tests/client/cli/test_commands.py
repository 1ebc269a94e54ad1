"""The command as scripts use it: by its output and its exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import click
import pytest

from chat_client.cli import COMMANDS, main
from devtools.ports import free_port
from tests.client.conftest import SAMPLES, Chatbot, Cli

VOICE = SAMPLES / "hello.mp3"
VIDEO = SAMPLES / "hello.mp4"

NO_MESSAGE = "00000000-0000-7000-8000-000000000000.request"


@pytest.fixture
def client_id() -> str:
    return f"client-{uuid4().hex[:8]}"


def test_each_kind_of_message_gets_its_kind_of_reply(
    chatbot: Chatbot, cli: Cli, client_id: str, tmp_path: Path
) -> None:
    text = cli("send", "text", chatbot.url, "--client-id", client_id, "--json", "what", "can", "you", "do?")
    voice = cli("send", "voice", chatbot.url, VOICE, "--client-id", client_id, "--json")
    video = cli("send", "video", chatbot.url, VIDEO, "--client-id", client_id, "--json")
    assert (text.returncode, voice.returncode, video.returncode) == (0, 0, 0)
    replies = [json.loads(done.stdout) for done in (text, voice, video)]
    assert [reply["kind"] for reply in replies] == ["text", "voice", "video"]
    assert [set(reply) for reply in replies] == [
        {"kind", "text"},
        {"kind", "text", "voice"},
        {"kind", "text", "voice", "image"},
    ]
    assert (tmp_path / replies[2]["voice"]).read_bytes()[:2] in {b"ID", b"\xff\xfb", b"\xff\xf3"}
    assert (tmp_path / replies[2]["image"]).read_bytes()[:3] == b"\xff\xd8\xff"


def test_a_conversation_can_be_piped_in_and_read_back_with_its_media(
    chatbot: Chatbot, cli: Cli, client_id: str, tmp_path: Path
) -> None:
    zone = {"CHAT_TIME_ZONE": "America/Argentina/Buenos_Aires"}
    said = cli("connect", chatbot.url, "--client-id", client_id, **zone, stdin=f"0\nhello\n1\n{VOICE}\n2 {VIDEO}\n")
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("bot ") == 3
    history = ("--client-id", client_id, "--history", chatbot.history_url)
    session = re.search(r"session ([0-9a-f-]{36})", said.stderr)
    assert session is not None
    sessions = cli("sessions", *history)
    table = [line.split() for line in sessions.stdout.splitlines()]
    assert table[0] == ["session", "started", "messages", "time", "zone"]
    assert (table[1][0], table[1][3:]) == (session[1], ["6", "America/Argentina/Buenos_Aires"])
    told = cli("history", *history, "--save-to", "all", "--json")
    messages = [json.loads(line) for line in told.stdout.splitlines()]
    assert [message["kind"] for message in messages] == ["text", "text", "voice", "voice", "video", "video"]
    saved = [tmp_path / path for message in messages for path in message["saved"].values()]
    assert [path.suffix for path in saved] == [".mp3", ".mp3", ".mp4", ".mp3", ".jpg"]
    assert saved[0].read_bytes() == VOICE.read_bytes()
    assert saved[2].read_bytes() == VIDEO.read_bytes()
    got = cli("media", messages[4]["id"], "video", "-o", "mine.mp4", "--history", chatbot.history_url)
    assert (got.returncode, got.stdout) == (0, "mine.mp4\n")
    assert (tmp_path / "mine.mp4").read_bytes() == VIDEO.read_bytes()


def test_a_text_may_come_from_standard_input(chatbot: Chatbot, cli: Cli) -> None:
    done = cli("send", "text", chatbot.url, "--client-id", "anna", "-", stdin="say Grüße aus Köln 🎉\n")
    assert done.returncode == 0
    assert "Grüße aus Köln 🎉" in done.stdout


def test_a_session_can_be_gone_on_with(chatbot: Chatbot, cli: Cli, client_id: str) -> None:
    session = uuid4()
    for text in ("hello", "help"):
        cli("send", "text", chatbot.url, "--client-id", client_id, "--session", session, text)
    told = cli("history", "--client-id", client_id, "--history", chatbot.history_url, "--session", session, "--json")
    assert len(told.stdout.splitlines()) == 4
    newest = cli("history", "--client-id", client_id, "--history", chatbot.history_url, "--last", 1, "--json")
    assert newest.stdout.splitlines() == told.stdout.splitlines()[-1:]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["send", "text", "URL", "hi", "--client-id", ".."], 3, "client_id_malformed", id="refused"),
        pytest.param(
            ["send", "text", "URL", "hi", "--client-id", "a", "--time-zone", "localtime"], 3, "time_zone", id="zone"
        ),
        pytest.param(["send", "voice", "URL", "png.mp3", "--client-id", "a"], 4, "media_unreadable", id="unreadable"),
        pytest.param(["send", "text", "NOBODY", "hi", "--client-id", "a"], 5, "cannot be reached", id="nobody"),
        pytest.param(["send", "text", "HISTORY", "hi", "--client-id", "a"], 3, "refused (404", id="other service"),
        pytest.param(["send", "text", "::::", "hi", "--client-id", "a"], 5, "not the address", id="no address"),
        pytest.param(["send", "voice", "URL", "none.mp3", "--client-id", "a"], 6, "No such file", id="no file"),
        pytest.param(["send", "voice", "URL", ".", "--client-id", "a"], 6, "is a folder", id="folder"),
        pytest.param(["send", "voice", "URL", "empty.mp3", "--client-id", "a"], 6, "is empty", id="empty"),
        pytest.param(
            ["send", "voice", "URL", "png.mp3", "--client-id", "a", "--max-bytes", "10"], 6, "--max-bytes", id="large"
        ),
        pytest.param(["send", "text", "URL", "--client-id", "a"], 6, "the text is empty", id="nothing"),
        pytest.param(["send", "text", "URL", "hi"], 2, "--client-id", id="no client id"),
        pytest.param(["history", "--client-id", "a", "--history", "NOBODY"], 5, "cannot be reached", id="no history"),
        pytest.param(["history", "--client-id", "a b", "--history", "HISTORY"], 3, "client_id", id="history refuses"),
        pytest.param(["media", "x.request", "voice", "--history", "HISTORY"], 2, "is not a message", id="no message"),
        pytest.param(
            ["media", NO_MESSAGE, "voice", "--history", "HISTORY"], 3, "message_unknown", id="unknown message"
        ),
    ],
)
def test_trouble_is_one_line_and_an_exit_code(
    chatbot: Chatbot, cli: Cli, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "png.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    (tmp_path / "empty.mp3").write_bytes(b"")
    places = {"URL": chatbot.url, "HISTORY": chatbot.history_url, "NOBODY": f"http://127.0.0.1:{free_port()}"}
    done = cli(*[places.get(word, word) for word in words])
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if code != 2:
        assert len(done.stderr.splitlines()) == 1


def test_a_piped_conversation_goes_on_after_trouble_and_tells_in_its_exit_code(chatbot: Chatbot, cli: Cli) -> None:
    done = cli("connect", chatbot.url, "--client-id", "anna", stdin="/dance\n\n1 none.mp3\n0 hello\nq\n0 never\n")
    assert done.returncode == 6
    assert "/dance is no command" in done.stderr
    assert "none.mp3 cannot be read" in done.stderr
    assert done.stdout.count("bot ") == 1


def test_nothing_is_written_over(chatbot: Chatbot, cli: Cli, client_id: str, tmp_path: Path) -> None:
    cli("send", "voice", chatbot.url, VOICE, VOICE, "--client-id", client_id)
    assert len(list((tmp_path / "replies").glob("*.mp3"))) == 2
    told = cli("history", "--client-id", client_id, "--history", chatbot.history_url, "--json")
    first = json.loads(told.stdout.splitlines()[0])["id"]
    (tmp_path / "mine.mp3").write_text("mine")
    done = cli("media", first, "voice", "-o", "mine.mp3", "--history", chatbot.history_url)
    assert (done.returncode, (tmp_path / "mine.mp3").read_text()) == (6, "mine")
    assert "is there already" in done.stderr
    assert not list(tmp_path.glob(".*.part"))


def test_a_folder_that_cannot_be_written_is_told(chatbot: Chatbot, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = cli("send", "voice", chatbot.url, VOICE, "--client-id", "anna", "--save-to", "taken/replies")
    assert done.returncode == 6
    assert "taken/replies" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.returncode == 0
    assert "_CHAT_CLIENT_COMPLETE" in done.stdout
    words = cli(_CHAT_CLIENT_COMPLETE="bash_complete", COMP_WORDS="chat-client se", COMP_CWORD="1")
    assert {line.split(",")[1] for line in words.stdout.splitlines()} == {"search", "send", "sessions"}


@pytest.mark.parametrize(
    "command", [[], ["connect"], ["send"], ["send", "voice"], ["sessions"], ["history"], ["media"], ["completion"]]
)
def test_help_teaches(cli: Cli, command: list[str]) -> None:
    done = cli(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: chat-client" in done.stdout


def test_the_list_of_commands_says_what_each_command_says_itself() -> None:
    context = click.Context(main)
    for name, (_, sentence) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert (command.name, command.get_short_help_str(200)) == (name, sentence)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "bash"]])
def test_a_command_imports_only_what_it_needs(words: list[str]) -> None:
    program = (
        "import sys; from chat_client.cli import main; main(sys.argv[1:], standalone_mode=False); "
        "print({'aiohttp', 'websockets', 'rich', 'prompt_toolkit', 'jwt', 'frameproto'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_zone_that_was_guessed_is_told(chatbot: Chatbot, cli: Cli, client_id: str) -> None:
    done = cli("send", "text", chatbot.url, "hello", "--client-id", client_id, TZ="XYZ3ABC,M3.2.0,M11.1.0")
    assert done.returncode == 0
    assert "time zone: TZ=XYZ3ABC" in done.stderr
    assert "--time-zone" in done.stderr
