"""The messages of simulated clients, and their time zones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from frameproto import Request, RequestKind, Response

SAMPLES: Final = Path(__file__).parents[1] / "samples"

ZONES: Final = (
    "Pacific/Honolulu",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Lagos",
    "Africa/Cairo",
    "Europe/Kyiv",
    "Africa/Nairobi",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Bangkok",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Adelaide",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "-03:30",
    "+07:00",
)
ECHO: Final = "say "
REMARKS: Final = (
    "What time is it?",
    "Which day is it?",
    "How are you?",
    "Who are you?",
    "What did I say first?",
    "Thank you",
    "The train is late again",
    "I had rice with vegetables for lunch 🍚",
    "Wie spät ist es? Ich weiß es nicht.",
)
ECHOED: Final = ("good luck", "the quick brown fox", "naïve café", "one two three", "こんにちは")


@dataclass(frozen=True, slots=True)
class Phrases:
    """The messages of one client. All texts differ, so that each can be identified in history.

    Args:
        client: the client id.
        numbers: numbers that continue over all connections.
    """

    client: str
    numbers: Iterator[int]

    @classmethod
    def of(cls, client: str) -> "Phrases":
        """Return the messages of a client."""
        return cls(client, count(1))

    def text(self) -> tuple[Request, str]:
        """Return a text request, and its text."""
        mark = f"({self.client} {next(self.numbers)})"
        chosen = random.choice((ECHO + random.choice(ECHOED), random.choice(REMARKS)))
        said = f"{chosen} {mark}"
        return Request(RequestKind.TEXT, said.encode()), said


def voice() -> Request:
    """Return a voice note."""
    return Request(RequestKind.VOICE, (SAMPLES / "hello.mp3").read_bytes())


def video() -> Request:
    """Return a video."""
    return Request(RequestKind.VIDEO, (SAMPLES / "hello.mp4").read_bytes())


def fits(request: Request, said: str, response: Response) -> bool:
    """Say whether a response belongs to a request: by its kind, and where the bot repeats the words, by the words."""
    if response.kind is not request.kind.answered_by:
        return False
    return not said.startswith(ECHO) or said.removeprefix(ECHO) in response.text
