"""A message as a bot is told of it: its words, and its description."""

from datetime import UTC, datetime
from typing import Any

import pytest

from botkit import AudioInfo, Transcript, Turn, VideoInfo
from frameproto import RequestKind

SPOKEN = Transcript("hello", "en")


def turn(kind: RequestKind, **more: Any) -> Turn:
    return Turn(kind, "anna", datetime(2026, 6, 1, tzinfo=UTC), **more)


def video(**more: Any) -> VideoInfo:
    return VideoInfo(2, 320, 240, b"a JPEG", has_sound=True, **more)


@pytest.mark.parametrize(
    ("told", "words", "description"),
    [
        (turn(RequestKind.TEXT, text="hello"), "hello", "hello"),
        (turn(RequestKind.VOICE, audio=AudioInfo(3.21)), "", "(a voice note of 3.2 seconds)"),
        (
            turn(RequestKind.VOICE, audio=AudioInfo(3.21, transcript=SPOKEN)),
            "hello",
            '(a voice note of 3.2 seconds: "hello")',
        ),
        (turn(RequestKind.VOICE, audio=AudioInfo(1, transcript=Transcript(""))), "", "(a voice note of 1.0 seconds)"),
        (turn(RequestKind.VIDEO, video=video(transcript=SPOKEN)), "hello", '(a video of 2.0 seconds: "hello")'),
        (turn(RequestKind.VIDEO), "", "(a video)"),
    ],
)
def test_a_message_has_words_and_a_description(told: Turn, words: str, description: str) -> None:
    assert (told.words, told.describe()) == (words, description)


def test_the_transcript_is_that_of_the_media() -> None:
    assert turn(RequestKind.TEXT, text="hello").transcript is None
    assert turn(RequestKind.VIDEO, video=video(transcript=SPOKEN)).transcript is SPOKEN
