import subprocess
import sys

import pytest

from chat_service.media.audio import encode_mp3
from chat_service.media.speech import MAX_CHARACTERS, SpeechSynthesizer, SynthesizerFailed, shorten
from tests.chat.media.making import loudness

SENTENCE = "Good evening! It is five minutes past nine where you are."


@pytest.fixture(scope="module")
def speaker() -> SpeechSynthesizer:
    return SpeechSynthesizer()


def spoken(speaker: SpeechSynthesizer, text: str) -> tuple[float, float]:
    return loudness(encode_mp3(speaker.say(text), sample_rate=speaker.sample_rate))


def test_a_sentence_is_heard(speaker: SpeechSynthesizer) -> None:
    root_mean_square, seconds = spoken(speaker, SENTENCE)
    assert root_mean_square > 0.02
    assert 1.5 < seconds < 10


def test_more_text_takes_longer(speaker: SpeechSynthesizer) -> None:
    lengths = [spoken(speaker, SENTENCE * times)[1] for times in (1, 2, 4)]
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=0.3)
    assert lengths[2] == pytest.approx(4 * lengths[0], rel=0.3)


def test_different_words_sound_different(speaker: SpeechSynthesizer) -> None:
    assert speaker.say("yes") != speaker.say("no, thank you")


@pytest.mark.parametrize("text", ["", " ", "…", "?!", "\n", "\0", "👍"])
def test_a_text_without_words_is_a_sound_too(speaker: SpeechSynthesizer, text: str) -> None:
    assert spoken(speaker, text)[1] > 0.2


def test_what_comes_after_a_zero_is_spoken_too(speaker: SpeechSynthesizer) -> None:
    assert spoken(speaker, f"yes\0{SENTENCE}")[1] > spoken(speaker, "yes")[1] + 1


def test_markup_is_text_like_any_other(speaker: SpeechSynthesizer) -> None:
    assert len(speaker.say('<break time="60s"/> [[hh]] &amp;')) < 10 * 2 * speaker.sample_rate


def test_an_unknown_voice() -> None:
    with pytest.raises(SynthesizerFailed, match="no-such-voice"):
        SpeechSynthesizer("no-such-voice")


def test_other_voices_differ() -> None:
    assert SpeechSynthesizer("de").say(SENTENCE) != SpeechSynthesizer("en-us").say(SENTENCE)


def test_missing_data() -> None:
    program = "from chat_service.media.speech import SpeechSynthesizer; SpeechSynthesizer('en-us', '/nonexistent')"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 1  # espeak-ng by itself would go on, silently, or exit the process
    assert "SynthesizerFailed: espeak-ng does not start with its data in /nonexistent" in finished.stderr


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("all of it", 9, "all of it"),
        ("only the first words", 14, "only the first"),
        ("only the first words", 15, "only the first"),
        ("only the first words", 19, "only the first"),
        ("unbroken" * 10, 12, "unbrokenunbr"),
    ],
)
def test_shorten(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short


def test_long_texts_are_spoken_up_to_a_limit(speaker: SpeechSynthesizer) -> None:
    limit = speaker.say("word " * (MAX_CHARACTERS // 5))
    assert len(speaker.say("word " * MAX_CHARACTERS)) == pytest.approx(len(limit), rel=0.05)
