import subprocess
import sys
from pathlib import Path

import pytest

from chat_service.media.audio import probe_audio
from chat_service.media.video import probe_video
from tests.chat.media.making import loudness, pixels

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture(scope="module", params=["committed", "made anew"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "committed":
        return SAMPLES
    made = tmp_path_factory.mktemp("samples")
    subprocess.run([sys.executable, SAMPLES / "make_samples.py", made], check=True, capture_output=True)
    return made


def test_they_are_small(folder: Path) -> None:
    files = [folder / name for name in ("hello.txt", "hello.mp3", "hello.mp4")]
    assert sum(file.stat().st_size for file in files) < 300_000


def test_the_text(folder: Path) -> None:
    assert folder.joinpath("hello.txt").read_text("utf-8").strip()


def test_the_voice_note_is_speech(folder: Path) -> None:
    mp3 = folder.joinpath("hello.mp3").read_bytes()
    assert 2 < probe_audio(mp3, max_seconds=10).seconds < 6
    assert loudness(mp3)[0] > 0.02


def test_the_video_has_picture_and_sound(folder: Path) -> None:
    info = probe_video(folder.joinpath("hello.mp4").read_bytes(), max_seconds=10)
    assert info.seconds == pytest.approx(3, abs=0.2)
    assert (info.width, info.height) == (320, 240)
    assert info.has_sound
    size, shown = pixels(info.picture)
    assert size == (320, 240)
    assert shown["centre"][0] > shown["centre"][2]  # the sun is not blue
    assert shown["sw"][2] > shown["sw"][0]  # the sea is
