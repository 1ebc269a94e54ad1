"""What the command prints: nothing that steers a terminal, answers apart from the rest, and an exit code that tells."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chat_client.cli.history import show_message
from chat_client.cli.output import print_json, printable, show_reply
from chat_client.errors import FileError
from chat_client.history_records import Message
from frameproto import Response, ResponseKind, error_response
from tests.client.command import COMMAND, environment
from tests.client.conftest import Chatbot, Cli

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        pytest.param("Grüße aus 東京, שלום\n\tund 🎉", "Grüße aus 東京, שלום\n\tund 🎉", id="all languages"),
        pytest.param(FAMILY, FAMILY, id="emoji joined to one"),
        pytest.param("a\u200cb", "a\u200cb", id="non-joiner, as Persian has it"),
        pytest.param("\x1b[2J\x1b]0;title\x07", "�[2J�]0;title�", id="escape sequences"),
        pytest.param("\x9b2J\x90q\x9c", "�2J�q�", id="the same in one character"),
        pytest.param("safe\rfake", "safe�fake", id="carriage return"),
        pytest.param("a\b\b\x7f\0", "a����", id="backspace, delete and null"),
        pytest.param("exe.\u202egpj", "exe.�gpj", id="override of direction"),
        pytest.param("\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069", "�" * 8, id="all that turn direction"),
        pytest.param("\ud800", "�", id="half a character"),
    ],
)
def test_text_of_others_is_shown_and_does_not_steer(written: str, shown: str) -> None:
    assert printable(written) == shown


@pytest.mark.parametrize("text", ["Grüße 🎉", FAMILY, "a\x1b[2J\x9b2J\x7f\u202eb\u2066\r\n", "\ud800"])
def test_json_holds_every_character_and_steers_no_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": text})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"text": text}
    assert printable(line) == line


VOICE = Response(ResponseKind.VOICE, "hello [bold]you[/]", b"mp3")
VIDEO = Response(ResponseKind.VIDEO, "a video", b"mp3", b"jpeg")
ERROR = error_response("busy", "come again\nlater \x1b[2J")


@pytest.mark.parametrize(
    ("reply", "code", "out", "err"),
    [
        pytest.param(Response(ResponseKind.TEXT, "hello"), 0, ["bot  hello"], [], id="text"),
        pytest.param(VOICE, 0, ["bot  hello [bold]you[/]", "     voice  F/-voice.mp3"], [], id="voice"),
        pytest.param(
            VIDEO, 0, ["bot  a video", "     voice  F/-voice.mp3", "     image  F/-image.jpg"], [], id="video"
        ),
        pytest.param(ERROR, 4, [], ["error come again later �[2J (busy)"], id="error"),
    ],
)
def test_a_reply_is_shown_and_its_media_are_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Response, code: int, out: list[str], err: list[str]
) -> None:
    assert show_reply(reply, tmp_path, as_json=False) == code
    shown = capsys.readouterr()
    stems = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    plain = shown.out.replace(f"{tmp_path}", "F")
    for stem in stems:
        plain = plain.replace(stem, "")
    assert (plain.splitlines(), shown.err.splitlines()) == (out, err)


@pytest.mark.parametrize(
    ("reply", "code", "kind"),
    [
        pytest.param(VOICE, 0, "voice", id="voice"),
        pytest.param(VIDEO, 0, "video", id="video"),
        pytest.param(ERROR, 4, "error", id="error"),
    ],
)
def test_a_reply_as_json_names_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: Response, code: int, kind: str
) -> None:
    assert show_reply(reply, tmp_path, as_json=True) == code
    (line,) = capsys.readouterr().out.splitlines()
    answer = json.loads(line)
    assert (answer.pop("kind"), answer.pop("text")) == (kind, reply.text)
    parts = {"voice": bytes(reply.voice), "image": bytes(reply.image)}
    assert {part: Path(path).read_bytes() for part, path in answer.items()} == {
        part: content for part, content in parts.items() if content
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_the_text_is_shown_even_when_the_voice_cannot_be_saved(
    tmp_path: Path, full_disk: None, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        show_reply(Response(ResponseKind.VOICE, "hello", bytes(100_000)), tmp_path, as_json=as_json)
    assert "hello" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_a_terminal_that_knows_few_characters_is_no_trouble(chatbot: Chatbot, cli: Cli, more: list[str]) -> None:
    done = cli("send", "text", chatbot.url, "say hello 🎉", "--client-id", "anna", *more, PYTHONIOENCODING="iso-8859-1")
    assert (done.returncode, done.stderr) == (0, "")
    if more:
        assert json.loads(done.stdout)["text"] == "hello 🎉"
    else:
        assert "hello ?" in done.stdout


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        pytest.param(b"say Gr\xfc\xdfe", 2, "the text is not valid UTF-8 at byte 6", id="Latin-1"),
        pytest.param(b" \n ", 6, "the text is empty", id="blank"),
        pytest.param(b"a" * 1025, 6, "the text is over 1023 bytes", id="too long"),
    ],
)
def test_what_is_no_text_is_not_sent(chatbot: Chatbot, given: bytes, code: int, said: str) -> None:
    for words in (["send", "text", chatbot.url], ["connect", chatbot.url]):
        line = given if words[0] == "send" else b"0 " + given + b"\n0 say goodbye"
        done = subprocess.run(
            [*COMMAND, *words, "--client-id", "anna", "--max-bytes", "1024"],
            input=line,
            capture_output=True,
            check=False,
            env=environment(),
        )
        assert b"Traceback" not in done.stderr
        if words[0] == "send":
            assert (done.returncode, done.stdout) == (code, b"")
            assert said in done.stderr.decode()
        else:
            assert b"goodbye" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("1 ~nobody-of-this-name/a.mp3", "nobody here is called that", id="home of nobody"),
        pytest.param("1 a\0b.mp3", "is not the name of a file", id="no name"),
    ],
)
def test_an_odd_name_of_a_file_ends_no_conversation(chatbot: Chatbot, cli: Cli, line: str, said: str) -> None:
    done = cli("connect", chatbot.url, "--client-id", "anna", stdin=f"{line}\n0 say goodbye")
    assert done.returncode == 6
    assert said in done.stderr
    assert "bot  goodbye" in done.stdout


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe", b"two\nlines", b"two words"])
def test_a_file_without_a_token_is_a_wrong_command_line_and_not_repeated(
    cli: Cli, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    for words in (["send", "text", "ws://127.0.0.1", "hi"], ["sessions"]):
        done = cli(*words, "--client-id", "anna", CHAT_TOKEN_FILE="token")
        assert (done.returncode, done.stdout) == (2, "")
        assert "does not hold a token" in done.stderr
        assert "two" not in done.stderr


READERS: list[Callable[[Chatbot], list[str]]] = [
    lambda bot: ["send", "text", bot.url, "hi", "--client-id", "anna"],
    lambda bot: ["sessions", "--client-id", "anna", "--history", bot.history_url],
    lambda bot: ["sessions", "--client-id", "anna", "--history", bot.history_url, "--json"],
]


@pytest.mark.parametrize("words", READERS, ids=["send", "sessions", "json"])
def test_output_that_cannot_be_written_is_told(
    chatbot: Chatbot, cli: Cli, words: Callable[[Chatbot], list[str]]
) -> None:
    cli("send", "text", chatbot.url, "hi", "--client-id", "anna")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *words(chatbot)], stdout=full, stderr=subprocess.PIPE, check=False, env=environment()
        )
    assert (done.returncode, done.stderr) == (6, b"error the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("words", READERS, ids=["send", "sessions", "json"])
def test_a_reader_that_has_had_enough_is_no_trouble(chatbot: Chatbot, words: Callable[[Chatbot], list[str]]) -> None:
    with subprocess.Popen(
        [*COMMAND, *words(chatbot)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 6


def test_ctrl_c_ends_a_conversation_whose_pipe_is_silent(chatbot: Chatbot) -> None:
    with subprocess.Popen(
        [*COMMAND, "connect", chatbot.url, "--client-id", "anna"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stderr is not None
        assert b"connected as anna" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().startswith(b"goodbye; session ")


def test_no_standard_input_at_all_is_an_empty_one(chatbot: Chatbot) -> None:
    for words, code in ((["connect", chatbot.url], 0), (["send", "text", chatbot.url], 6)):
        command = subprocess.list2cmdline([*COMMAND, *words, "--client-id", "anna"])
        done = subprocess.run(["sh", "-c", f"{command} <&-"], capture_output=True, check=False, env=environment())
        assert (done.returncode, done.stdout) == (code, b"")
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("transcribed", "shown"), [(True, "voice see you at noon"), (False, "see you at noon")])
def test_a_transcript_is_told_from_what_was_written(
    capsys: pytest.CaptureFixture[str], transcribed: bool, shown: str
) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    show_message(Message("1.request", "request", "voice", "see you at noon", (), "answered", at, transcribed), {}, "")
    assert capsys.readouterr().out.rstrip().endswith(f"you  {shown}")
