"""Check a bot's script, and try it with conversations: `python -m chat_service.bot --help`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from botkit import Memory, Turn
from chat_service.bot.conversations import ConversationError, files, read_conversations, try_conversation
from chat_service.bot.reply import OnPiece
from chat_service.bot.script import DEFAULT_SCRIPT, ScriptError, load_script
from chat_service.bot.scripted import ScriptedBot

EXIT_OK = 0
EXIT_MISTAKES = 1


class _Named:
    """Stands in for a bot that a script hands over to: its reply names it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def reply(self, turn: Turn, memory: Memory, on_piece: OnPiece | None = None, /) -> str:  # noqa: ARG002 - what it is given does not matter
        """Return the name in brackets."""
        return f"({self._name})"


def main(argv: Sequence[str] | None = None) -> int:
    """Check what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m chat_service.bot",
        description="Check a script: each mistake is told with its line. docs/bot.md explains scripts.",
        epilog="The exit status is 1 when there is a mistake or a reply is another one than expected.",
    )
    parser.add_argument(
        "script", type=Path, nargs="?", default=DEFAULT_SCRIPT, help="a TOML file; the bot's own by default"
    )
    parser.add_argument(
        "--conversations",
        type=Path,
        metavar="PATH",
        help="a file of conversations, or a folder of *.txt, to try it with",
    )
    options = parser.parse_args(argv)
    try:
        script = load_script(options.script)
    except ScriptError as exc:
        for mistake in exc.mistakes:
            print(mistake.at(options.script), file=sys.stderr)  # noqa: T201 - that is what the command is for
        return EXIT_MISTAKES
    print(f"{options.script}: {len(script.rules)} rules, no mistake")  # noqa: T201 - as above
    if options.conversations is None:
        return EXIT_OK
    bot = ScriptedBot(script, {name: _Named(name) for name in script.bots})
    return asyncio.run(_try(bot, options.conversations))


async def _try(bot: ScriptedBot, path: Path) -> int:
    wrong = count = 0
    for file in files(path):
        try:
            for expected in read_conversations(file.read_text(encoding="utf-8-sig")):
                count += 1
                for difference in await try_conversation(bot, expected):
                    wrong += 1
                    print(  # noqa: T201 - as above
                        f"{file}:{difference.line}: expected {difference.expected!r}, not {difference.replied!r}",
                        file=sys.stderr,
                    )
        except (ConversationError, OSError, UnicodeDecodeError) as exc:
            wrong += 1
            print(f"{file}: {exc}", file=sys.stderr)  # noqa: T201 - as above
    print(f"{count} conversations, {wrong} replies are not as expected")  # noqa: T201 - as above
    return EXIT_MISTAKES if wrong or not count else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
