"""Files as real devices and programs make them, one of each kind; `cases/` has them."""

from pathlib import Path

import pytest

from chat_service.media.audio import probe_audio
from chat_service.media.video import probe_video
from tests.chat.media.making import pixels

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize(
    ("name", "seconds", "size"),
    [
        ("trim-2s-from-5s.mp4", 2.0, (160, 120)),
        ("trim-0.5s-from-1.3s.mp4", 0.5, (160, 120)),
        ("trim-5s-of-150s.mp4", 5.0, (96, 64)),
        ("rotated-90-and-mirrored.mp4", 8.0, (120, 160)),
        ("pixels-16-15.mp4", 2.0, (192, 144)),
        ("text-behind-last-box.mp4", 8.0, (160, 120)),
    ],
)
def test_videos(name: str, seconds: float, size: tuple[int, int]) -> None:
    info = probe_video((CASES / name).read_bytes(), max_seconds=120)
    assert info.seconds == pytest.approx(seconds, abs=0.1)
    assert (info.width, info.height) == size
    assert pixels(info.picture)[0] == size


@pytest.mark.parametrize(
    ("name", "seconds", "whole"),
    [
        ("plain.mp3", 3.0, True),
        ("lyrics3-before-id3v1.mp3", 3.0, True),
        ("zeros-behind-the-end.mp3", 3.0, True),
        ("is-a-wav.mp3", 3.0, True),
        ("voice-from-a-browser.webm", 3.0, True),
        ("hole-of-2-KiB.mp3", 2.5, False),
        ("cut-in-half-header-tells-3s.mp3", 1.5, False),
    ],
)
def test_voice_notes(name: str, seconds: float, whole: bool) -> None:
    info = probe_audio((CASES / name).read_bytes(), max_seconds=120)
    assert info.seconds == pytest.approx(seconds, abs=0.1)
    assert info.whole is whole
    assert not info.silent
