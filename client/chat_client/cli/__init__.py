"""The `chat-client` command."""

import click

from chat_client.cli.completion import completion
from chat_client.cli.connect import connect
from chat_client.cli.history import history, media, search, sessions
from chat_client.cli.keeping import delete, erase, export, rename
from chat_client.cli.send import send
from chat_client.cli.token import token

EPILOG = """\b
Exit codes:
  0  everything was answered
  1  a fault of ours
  2  the command line is wrong
  3  the server refused, and said why; your token has expired
  4  the bot answered a message with an error
  5  the server cannot be reached, or the connection was lost
  6  a file, or the output, cannot be read or written
  130  stopped by Ctrl-C

\b
Try it:
  chat-client connect ws://127.0.0.1:8000 --client-id anna
  chat-client send voice ws://127.0.0.1:8000 samples/hello.mp3 --client-id anna
  chat-client history --client-id anna
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EPILOG)
@click.version_option(package_name="chatbot-client", prog_name="chat-client")
def main() -> None:
    """Talk to the chatbot, and read back what was said.

    A message is text, a voice note (MP3) or a video (MP4). The bot answers text with text, voice with text and voice,
    video with text, voice and a picture.
    """


for command in (connect, send, sessions, history, search, media, rename, delete, export, erase, token, completion):
    main.add_command(command)
