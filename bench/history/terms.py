"""What all measurements of one run have in common."""

from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTerms:
    """How much is measured.

    Attributes:
        repeats: how often each measurement is taken; the contenders take turns.
        batches: how many batches are handed in, in one repetition.
        batch: how many exchanges are in one.
        few_messages: how many there are in the small history.
        many_messages: how many there are in the large one.
        long_messages: how many there are in the one session of the third.
        pages: how many pages are asked for, in one repetition.
        media_bytes: how large the media are that are downloaded.
        downloads: how many of them, in one repetition.
        crowd: how many are downloaded at once when memory is looked at.
    """

    repeats: int
    batches: int
    batch: int
    few_messages: int
    many_messages: int
    long_messages: int
    pages: int
    media_bytes: int = 16 * MIB
    downloads: int = 8
    crowd: int = 8


Step = Callable[[str, int], None]
"""Told what is being done, and how many steps of it are done since the last time."""
