#!/usr/bin/env python
"""Make the sample messages beside this file: a text, a voice note and a video, from nothing but this project's code.

    .venv/bin/python samples/make_samples.py [FOLDER]

The voice is that of the bot's synthesizer; the picture is painted here: the sun comes up over the sea.
"""

import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from chat_service.media.audio import encode_mp3
from chat_service.media.speech import SpeechSynthesizer

HELLO_TEXT: Final = "Hello! What time is it?\n"
HELLO_VOICE: Final = "Hello! This is a voice note, for the bot to listen to."
HELLO_VIDEO: Final = "Good morning! The sun is coming up."

WIDTH, HEIGHT = 320, 240  # pixels
FRAMES_PER_SECOND: Final = 15
SECONDS: Final = 3
RADIUS: Final = 38
HORIZON: Final = 150  # rows from the top
SOUND_BIT_RATE: Final = 48_000
BYTES_PER_SAMPLE: Final = 2

Colour = tuple[int, int, int]  # lightness, blue and red difference: Y, Cb, Cr
NIGHT: Final[Colour] = (40, 150, 120)
DAWN: Final[Colour] = (170, 105, 160)
SUN: Final[Colour] = (215, 60, 160)
SEA: Final[Colour] = (60, 150, 105)
GLITTER: Final[Colour] = (140, 110, 145)


def make_samples(folder: Path) -> list[Path]:
    """Write the samples into a folder and return their paths."""
    speaker = SpeechSynthesizer()
    text, voice, video = (folder / name for name in ("hello.txt", "hello.mp3", "hello.mp4"))
    text.write_text(HELLO_TEXT, "utf-8")
    voice.write_bytes(encode_mp3(speaker.say(HELLO_VOICE), sample_rate=speaker.sample_rate))
    make_video(video, speaker.say(HELLO_VIDEO), speaker.sample_rate)
    return [text, voice, video]


def make_video(path: Path, pcm: bytes, sample_rate: int) -> None:
    """Write the sunrise with this sound (16-bit samples of one channel) as MP4: H.264 and AAC."""
    # With its index in front ("faststart") a browser can begin before it has everything.
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as file:
        picture = file.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "28", "threads": "1"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = file.add_stream("aac", rate=sample_rate, layout="mono")
        sound.bit_rate = SOUND_BIT_RATE
        for image in sunrise():
            file.mux(picture.encode(image))
        file.mux(picture.encode(None))
        size = SECONDS * sample_rate * BYTES_PER_SAMPLE
        heard = av.AudioFrame(format="s16", layout="mono", samples=size // BYTES_PER_SAMPLE)
        heard.planes[0].update(pcm[:size].ljust(size, b"\0"))
        heard.sample_rate = sample_rate
        file.mux(sound.encode(heard))
        file.mux(sound.encode(None))


def sunrise() -> Iterator[av.VideoFrame]:
    """Paint every frame."""
    count = SECONDS * FRAMES_PER_SECOND
    for number in range(count):
        image = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for channel, plane in enumerate(image.planes):
            rows = (row(y, number / count, channel, plane.width) for y in range(0, HEIGHT, WIDTH // plane.width))
            plane.update(b"".join(painted.ljust(plane.line_size, b"\0") for painted in rows))
        image.pts, image.time_base = number, Fraction(1, FRAMES_PER_SECOND)
        yield image


def row(y: int, progress: float, channel: int, width: int) -> bytes:
    """Paint one row of one channel, which may have half as many columns as the picture."""
    scale = WIDTH / width
    sun_y = HORIZON + RADIUS - progress * 2.2 * RADIUS
    if y >= HORIZON:
        painted = bytes([SEA[channel]]) * width
        half = (0.4 + 0.6 * abs(math.sin(y / 3 + progress * 12))) * RADIUS * progress
        return across(painted, GLITTER[channel], half / scale)
    sky = [round(night + (dawn - night) * y / HORIZON) for night, dawn in zip(NIGHT, DAWN, strict=True)]
    chord = RADIUS**2 - (y - sun_y) ** 2
    return across(bytes([sky[channel]]) * width, SUN[channel], math.sqrt(max(0, chord)) / scale)


def across(painted: bytes, colour: int, half: float) -> bytes:
    """Paint the middle of a row, this many columns to either side."""
    begin, end = len(painted) // 2 - round(half), len(painted) // 2 + round(half)
    return painted[:begin] + bytes([colour]) * (end - begin) + painted[end:]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for made in make_samples(target):
        sys.stdout.write(f"{made}: {made.stat().st_size} bytes\n")
