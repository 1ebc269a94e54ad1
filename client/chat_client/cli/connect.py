"""`chat-client connect`: a conversation, message by message."""

from typing import Any, Final

import click

from chat_client.cli import ids
from chat_client.cli import options as option
from chat_client.cli.dialogue import Dialogue
from chat_client.cli.output import run
from chat_client.cli.prompts import prompts
from chat_client.cli.terminal_chat import ConnectOptions

EPILOG: Final = """\b
From a script:
  printf 'hello\\n/voice samples/hello.mp3\\n' |
    chat-client connect ws://127.0.0.1:8000 --client-id anna
"""


@click.command(epilog=EPILOG)
@option.options(
    option.address,
    option.client_id,
    option.time_zone,
    ids.to_go_on_with,
    option.token,
    option.save_to,
    option.max_bytes,
    click.option(
        "--ping-seconds",
        type=click.FloatRange(min=1, max=300),
        default=20.0,
        show_default=True,
        help="Interval between pings to the server.",
    ),
    option.history_of_chat,
    option.as_json,
)
def connect(**given: Any) -> None:  # noqa: ANN401 - the options, by the names of ConnectOptions
    """Talk to the chatbot at URL.

    A line is a text. /voice FILE and /video FILE send a file, where Tab completes names; /history, /search WORDS,
    /session and others are listed by /help. The menu of earlier versions works, too: 0 TEXT, 1 FILE, 2 FILE, h, q.

    Without a terminal the same lines are read from standard input.
    """
    run(Dialogue(ConnectOptions(**given), prompts()).run())
