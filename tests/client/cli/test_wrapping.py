"""How texts stand on a terminal: words wrapped behind their head, Markdown as it is meant."""

from io import StringIO

import pytest
from rich.console import Console

from chat_client.cli.wrapping import print_hanging
from tests.client.command import ESCAPES

WORDS = "the quick brown fox jumps over the lazy dog and goes on to run through the whole wide forest"


def shown(
    body: str, *, width: int = 80, terminal: bool = True, head: str = "[bold]bot[/]  ", **more: str | bool
) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard", highlight=False)
    print_hanging(console, head, body, **more)  # type: ignore[arg-type]  # tail and markdown
    return [ESCAPES.sub("", line) for line in file.getvalue().splitlines()]


def test_words_are_wrapped_behind_the_head() -> None:
    lines = shown(WORDS, width=70)
    assert len(lines) == 2
    assert all(len(line) <= 70 for line in lines)
    assert lines[0].startswith("bot  the quick")
    assert lines[1].startswith("     ")
    assert " ".join(" ".join(lines).split()) == f"bot {WORDS}"


def test_on_a_narrow_terminal_the_text_begins_on_its_own_line() -> None:
    lines = shown(WORDS, width=24)
    assert lines[0] == "bot  "
    assert all(len(line) <= 24 and line.startswith("  ") for line in lines[1:])
    assert shown("hi", width=24) == ["bot  hi"]
    assert shown("x" * 60, width=24)[1:] == [f"  {'x' * 21}", f"  {'x' * 21}", f"  {'x' * 18}"]
    assert shown("what to do", width=24, head=" " * 20) == ["  what to do"]


def test_what_is_no_terminal_gets_the_text_as_it_is() -> None:
    body = f"# {WORDS}\n- **one**\n[not markup]"
    assert shown(body, width=24, terminal=False, markdown=True, tail="  1 ms") == f"bot  {body}  1 ms".splitlines()


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("**bold** and `code`", ["bot  bold and code"]),
        ("- one\n- two", ["bot   • one", "      • two"]),
        ("first\nsecond **line**", ["bot  first", "     second line"]),
        ("1 * 2 * 3 = 6\n\n[x]  y", ["bot  1 * 2 * 3 = 6", "     ", "     [x]  y"]),
        ("snake_case_name stays", ["bot  snake_case_name stays"]),
        ("[a page](https://x.example) to see", ["bot  a page (https://x.example) to see"]),
        ("", ["bot  "]),
    ],
)
def test_markdown_is_shown_as_it_is_meant(body: str, lines: list[str]) -> None:
    assert shown(body, markdown=True) == lines
    assert shown("**bold**", markdown=False) == ["bot  **bold**"]


def test_code_keeps_its_lines_and_a_tail_stands_behind_the_last_one() -> None:
    lines = shown("```\ndef f():\n    return 1\n```\nso", markdown=True, tail="  [dim]3 ms[/]")
    assert [line.strip() for line in lines if line.strip()] == ["bot   def f():", "return 1", "so  3 ms"]
    assert lines[1].startswith("          return")
