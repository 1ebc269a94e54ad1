"""The pages of the client: their examples run, their tables are complete."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from chat_client import ClientError, Unanswered
from chat_client.cli import EPILOG, main
from tests.client.command import environment
from tests.client.conftest import SAMPLES, Chatbot
from tests.support.pages import python_examples

ROOT = Path(__file__).parents[2]
README = (ROOT / "client" / "README.md").read_text("utf-8")
TALK, SCRIPT, READ = python_examples("client/README.md")
PAGE = (ROOT / "docs" / "client.md").read_text("utf-8")


def run(example: str, folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run an example of the README."""
    (folder / "example.py").write_text(example)
    return subprocess.run(
        [sys.executable, "example.py", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=60,
    )


def test_the_examples_run(chatbot: Chatbot, tmp_path: Path) -> None:
    talked = run(TALK, tmp_path, chatbot.url, SAMPLES / "hello.mp3")
    assert (talked.returncode, talked.stderr) == (0, "")
    luck, voice = talked.stdout.splitlines()[0], talked.stdout.splitlines()[-1]
    assert luck == "good luck"
    assert re.search(r"Thank you for your voice note, .* \d{4,} 0$", voice)
    scripted = run(SCRIPT, tmp_path, chatbot.url)
    assert (scripted.returncode, scripted.stderr) == (0, "")
    assert scripted.stdout.split() == ["0", "1", "2"]
    (tmp_path / "media").mkdir()
    read = run(READ, tmp_path, chatbot.history_url, tmp_path / "media")
    assert (read.returncode, read.stderr) == (0, "")
    assert "reply text good luck" in read.stdout
    assert any(path.read_bytes() == (SAMPLES / "hello.mp3").read_bytes() for path in (tmp_path / "media").iterdir())


def test_the_example_tells_of_a_refusal(chatbot: Chatbot, tmp_path: Path) -> None:
    done = run(TALK, tmp_path, chatbot.history_url, SAMPLES / "hello.mp3")  # the wrong of the two services
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"refused \(404 not_found\): .* - change what the server objects to, .*\n", done.stdout)


def errors(kind: type[ClientError]) -> Iterator[tuple[str, str]]:
    for below in kind.__subclasses__():
        if below.__module__ == "chat_client.errors":
            yield below.__name__, str(5 if below is Unanswered else below.exit_code)
            yield from errors(below)


def test_the_tree_is_the_tree() -> None:
    assert dict(re.findall(r"[├└]── (\w+) +(\d)", README)) == dict(errors(ClientError))


def options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in {"help", "version"}:
            yield parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below)


def test_every_option_variable_and_exit_code_has_its_line() -> None:
    lines = PAGE.partition("\n## Reference\n")[2]
    assert set(re.findall(r"`(--[a-z-]+)`(?:, `-o`)? \|", lines.partition("| variable |")[0])) == {
        option.opts[0] for option in options(main)
    }
    variables = {str(option.envvar) for option in options(main) if option.envvar}
    assert set(re.findall(r"^\| `([A-Z_]+)`", lines, re.MULTILINE)) == variables | {
        "NO_COLOR",
        "CHAT_TOKEN",
        "CHAT_TOKEN_SECRET",
        "CHAT_URL",
        "CHAT_CONFIG",
    }
    codes = PAGE.partition("\n### Exit codes\n")[2]
    assert re.findall(r"^\| (\d+) \|", codes, re.MULTILINE) == re.findall(r"^  (\d+)  ", EPILOG, re.MULTILINE)


def test_every_command_is_on_the_page() -> None:
    names = main.list_commands(click.Context(main))
    assert len(names) > 10
    for name in names:
        assert f"chat-client {name}" in PAGE
