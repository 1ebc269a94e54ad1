"""The `chat-client` command. Each of its commands is imported when it is called, so that `--help` is fast."""

from importlib import import_module
from typing import Final

import click

EPILOG = """\b
Exit codes:
  0  everything was answered
  1  an internal error
  2  the command line is wrong
  3  the server refused the request, or your token has expired
  4  the bot answered a message with an error
  5  the server cannot be reached, or the connection was lost
  6  a file, or the output, cannot be read or written
  130  stopped by Ctrl-C

\b
Try it:
  chat-client connect ws://127.0.0.1:8000 --client-id anna
  chat-client send voice ws://127.0.0.1:8000 samples/hello.mp3 --client-id anna
  chat-client history --client-id anna
  chat-client doctor ws://127.0.0.1:8000 --client-id anna     (when something does not work)
"""


INTERRUPTED: Final = 130

COMMANDS: Final = {
    "connect": ("chat_client.cli.connect:connect", "Talk to the chatbot at URL."),
    "send": (
        "chat_client.cli.send:send",
        "Send text, voice notes or videos, print the replies, save their media, and end.",
    ),
    "sessions": ("chat_client.cli.history:sessions", "List your conversations, the latest first."),
    "history": (
        "chat_client.cli.history:history",
        "Show a conversation, oldest message first, with the media that belong to it.",
    ),
    "search": ("chat_client.cli.history:search", "Find the messages that hold all WORDS, the newest first."),
    "media": (
        "chat_client.cli.history:media",
        "Download the voice, video or image of MESSAGE; `history` shows which there are.",
    ),
    "rename": (
        "chat_client.cli.manage:rename",
        "Set the TITLE of SESSION, whose id may be shortened; without TITLE, remove it.",
    ),
    "delete": ("chat_client.cli.manage:delete", "Delete a conversation or a message, with its media, for good."),
    "export": (
        "chat_client.cli.archive:export",
        "Save everything that history has of you: conversations and messages, one JSON object a line.",
    ),
    "import": ("chat_client.cli.archive:import_", "Read a FOLDER of `export --media` into an installation."),
    "erase": ("chat_client.cli.manage:erase", "Delete everything that history has of you, media included, for good."),
    "token": ("chat_client.cli.token:token", "Print a token for development, signed with a secret of the services."),
    "config": (
        "chat_client.cli.config:config",
        "Store defaults of options: address, client id, time zone.",
    ),
    "doctor": (
        "chat_client.cli.doctor:doctor",
        "Check the connection to the chatbot at URL, and say how to fix what is wrong.",
    ),
    "completion": (
        "chat_client.cli.completion:completion",
        "Print the script that completes commands and options in your shell.",
    ),
}
"""Where each command is, and its first sentence as the list of commands shows it."""


class Commands(click.Group):
    """The commands of the table, imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; Ctrl-C is 130 wherever it is pressed, and not the 1 of click."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EPILOG
)
@click.version_option(package_name="chatbot-client", prog_name="chat-client")
@click.pass_context
def main(context: click.Context) -> None:
    """Talk to the chatbot, and read back what was said.

    A message is text, a voice note (MP3) or a video (MP4). The bot answers text with text, voice with text and voice,
    video with text, voice and a picture.
    """
    if context.invoked_subcommand != "config":
        from chat_client.cli.config import defaults  # noqa: PLC0415 - not for --help

        if kept := defaults():
            from frameproto import RequestKind  # noqa: PLC0415

            of_send = {kind.message_kind.value: kept for kind in RequestKind}
            context.default_map = {name: {**kept, **of_send} for name in COMMANDS}
