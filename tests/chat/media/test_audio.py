import io
import wave
from collections.abc import Callable

import pytest

from chat_service.media.audio import encode_mp3, hear
from chat_service.media.base import MediaError
from tests.chat.media.making import RED, loudness, picture_of, silent_mp3, song_in_mp4, video


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return out.getvalue()


@pytest.mark.parametrize("seconds", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_an_mp3_is_as_long_as_its_sound(seconds: float, sample_rate: int) -> None:
    assert hear(silent_mp3(seconds, sample_rate), max_seconds=10).seconds == pytest.approx(seconds, abs=0.15)


def test_the_length_is_counted_and_not_read_from_the_header() -> None:
    whole = silent_mp3(10)
    assert hear(whole[: len(whole) // 2], max_seconds=100).seconds < 6


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("nothing", lambda: b""),
        ("text", lambda: b"I am not a voice note. " * 500),
        ("PNG", lambda: picture_of(RED)),
        ("WAV", wav),
        ("MP4 with a picture", lambda: video(RED)),
        ("MP4 with sound", song_in_mp4),
        ("zeros", lambda: bytes(50_000)),
        ("ones", lambda: b"\xff" * 50_000),
        ("only a tag", lambda: b"ID3\x04\x00\x00\x00\x00\x00\x10" + bytes(16)),
        ("the beginning of a frame", lambda: silent_mp3(1)[:60]),
        ("a playlist", lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/hostname\n"),
        ("a concatenation", lambda: b"ffconcat version 1.0\nfile '/etc/hostname'\n"),
    ],
)
def test_what_is_not_an_mp3_is_refused(name: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(MediaError, match="MP3") as refused:
        hear(make(), max_seconds=10)
    assert refused.value.code == "media_unreadable", name


def test_too_long_is_refused() -> None:
    hear(silent_mp3(2), max_seconds=3)
    with pytest.raises(MediaError, match="3 seconds") as refused:
        hear(silent_mp3(5), max_seconds=3)
    assert refused.value.code == "media_too_long"


def test_tags_do_not_matter_whatever_their_letters_are() -> None:
    old_tag = b"TAG" + "Grüße".encode("latin-1").ljust(125, b"\0")
    new_tag = b"ID3\x03\x00\x00\x00\x00\x00\x0eTIT2\x00\x00\x00\x04\x00\x00\x03\xff\xfe\x80"
    assert hear(new_tag + silent_mp3(1) + old_tag, max_seconds=10).seconds == pytest.approx(1, abs=0.15)


def test_sound_survives_encoding() -> None:
    square = (b"\x00\x20" * 25 + b"\x00\xe0" * 25) * 441  # +8192 and -8192 of 32768: a root mean square of a quarter
    root_mean_square, seconds = loudness(encode_mp3(square, sample_rate=22_050))
    assert seconds == pytest.approx(1, abs=0.15)
    assert root_mean_square == pytest.approx(0.25, abs=0.05)


def test_the_same_sound_is_the_same_mp3() -> None:
    assert silent_mp3(1) == silent_mp3(1)
