"""Sentences spoken by espeak-ng, as voice notes and as bare sound."""

import io
from functools import cache

import av

from bench.words import word_errors
from chat_service.media.audio import encode_mp3
from chat_service.media.pcm import PcmRecording, record
from chat_service.media.speech import SpeechSynthesizer


@cache
def _speaker() -> SpeechSynthesizer:
    return SpeechSynthesizer()  # the library has one state for the whole process


def pcm_of(text: str) -> bytes:
    """Return the sentence in the form that recognizers take."""
    sound = PcmRecording()
    with av.open(io.BytesIO(mp3_of(text)), "r") as file:
        record(file, file.streams.audio[0], sound, max_seconds=1e9)
    return sound.pcm


def mp3_of(text: str) -> bytes:
    """Return the sentence as a voice note."""
    speaker = _speaker()
    return encode_mp3(speaker.say(text), sample_rate=speaker.sample_rate)


def is_nearly(said: str, heard: str) -> bool:
    """Say whether most of it was understood; what exactly differs with the processor."""
    errors, words = word_errors(said, heard)
    return errors <= words / 3
