"""What can go wrong with a bot.

Exception
├── BotError       a bot could not reply
└── BotNotFound    a name leads to no bot
"""


class BotError(Exception):
    """The bot could not reply.

    Args:
        message: one sentence for the client, without secrets.
        code: a stable code for programs, as errors of the protocol have one.
        retryable: whether the same message may be answered when it is sent again.
    """

    def __init__(self, message: str = "the bot could not reply", *, code: str = "bot_failed", retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class BotNotFound(Exception):
    """A name such as `my_bot:bot` leads to nothing that can reply; the message says what is wrong with it."""
