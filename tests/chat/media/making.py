"""Media for tests, made on the spot: sounds, plain-coloured videos, and what is almost but not quite media."""

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from chat_service.media.audio import encode_mp3

Colour = tuple[int, int, int]  # Y, Cb, Cr; BT.601, limited range

RED: Colour = (81, 90, 240)
GREEN: Colour = (145, 54, 34)
BLUE: Colour = (41, 240, 110)
BLACK: Colour = (16, 128, 128)

UPRIGHT = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
CLOCKWISE = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
COUNTERCLOCKWISE = (0, -0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000)
MIRRORED = (-0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
FLIPPED = (0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000)
TRANSPOSED = (0, 0x10000, 0, 0x10000, 0, 0, 0, 0, 0x40000000)
TRANSVERSED = (0, -0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
ALL_ZERO = (0,) * 9
UPSIDE_DOWN = (-0x10000, 0, 0, 0, -0x10000, 0, 0, 0, 0x40000000)


def silent_mp3(seconds: float, sample_rate: int = 22_050) -> bytes:
    return encode_mp3(bytes(2 * int(seconds * sample_rate)), sample_rate=sample_rate)


def slow_mp3(megabytes: float) -> bytes:
    """Return an MP3 that takes about 0.1 seconds a megabyte to decode: a quarter of an hour of silence each."""
    out = io.BytesIO()
    options = {"write_xing": "0", "id3v2_version": "0"}  # only frames, so that they can be repeated
    with av.open(out, "w", format="mp3", options=options) as file:
        track = file.add_stream("libmp3lame", rate=8000, layout="mono")
        track.bit_rate = 8000
        silence = av.AudioFrame(format="s16", layout="mono", samples=32_000)
        silence.planes[0].update(bytes(64_000))
        silence.sample_rate = 8000
        file.mux(track.encode(silence))
        file.mux(track.encode(None))
    frames = out.getvalue()
    return frames * int(megabytes * 1_000_000 / len(frames))


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Give the process back its scheduling policy: as root, SVT-AV1 makes who encodes with it a real-time process.

    What such a process starts inherits that, and starves everything else on the machine.
    """
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


def video(
    *colours: Colour,
    seconds: float = 1.0,
    size: tuple[int, int] = (64, 48),
    rate: int = 10,
    codec: str = "libx264",
    sound: bool = False,
    name: str = "video.mp4",
    corner: Colour | None = None,
    speech: bytes = b"",
    **options: str,
) -> bytes:
    """Return a video that shows each colour for an equal part of its time, with a corner (top left) of another.

    `speech` is sound as recognizers take it; without it, `sound` is silence.
    """
    count = max(1, round(seconds * rate))
    with TemporaryDirectory() as folder, usual_scheduling():
        path = Path(folder) / name
        with av.open(str(path), "w", options={name: value for name, value in options.items() if value}) as file:
            track = file.add_stream(codec, rate=rate)
            assert isinstance(track, VideoStream)
            track.width, track.height, track.pix_fmt = *size, "yuv420p"
            track_of_sound = file.add_stream("aac", rate=16_000, layout="mono") if sound or speech else None
            for number in range(count):
                colour = colours[number * len(colours) // count]
                frame = _painted(size, colour, corner)
                frame.pts, frame.time_base = number, Fraction(1, rate)
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
            if track_of_sound is not None:
                heard = av.AudioFrame(format="s16", layout="mono", samples=int(16_000 * seconds))
                heard.planes[0].update(speech.ljust(2 * heard.samples, b"\0")[: 2 * heard.samples])
                heard.sample_rate = 16_000
                file.mux(track_of_sound.encode(heard))
                file.mux(track_of_sound.encode(None))
        return path.read_bytes()


def song_in_mp4(title: str = "") -> bytes:
    """Return an MP4 with sound only."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "song.mp4"
        with av.open(str(path), "w") as file:
            if title:
                file.metadata["title"] = title
            track = file.add_stream("aac", rate=22_050, layout="mono")
            quiet = av.AudioFrame(format="s16", layout="mono", samples=22_050)
            quiet.planes[0].update(bytes(44_100))
            quiet.sample_rate = 22_050
            file.mux(track.encode(quiet))
            file.mux(track.encode(None))
        return path.read_bytes()


def tone(
    seconds: float,
    name: str,
    codec: str,
    *,
    level: float = 0.3,
    rate: int = 48_000,
    begins: float = 0,
    options: dict[str, str] | None = None,
) -> bytes:
    """Return a recording of a square wave in the container that the name asks for, beginning at a time of its clock."""
    samples = int(seconds * rate)
    half = rate // 440 // 2
    high, low = (struct.pack("<h", int(sign * level * 32_767)) for sign in (1, -1))
    pcm = ((high * half + low * half) * (samples // (2 * half) + 1))[: 2 * samples]
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        with av.open(str(path), "w", options=options or {}) as file:
            track = file.add_stream(codec, rate=rate, layout="mono")
            assert isinstance(track, AudioStream)
            frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
            frame.planes[0].update(pcm)
            frame.sample_rate = rate
            frame.pts, frame.time_base = int(begins * rate), Fraction(1, rate)
            file.mux(track.encode(frame))
            file.mux(track.encode(None))
        return path.read_bytes()


def turned(mp4: bytes, matrix: tuple[int, ...]) -> bytes:
    """Return the video with the note that players shall turn its picture (the matrix of its track header)."""
    at = mp4.index(struct.pack(">9i", *UPRIGHT), mp4.index(b"tkhd"))
    return mp4[:at] + struct.pack(">9i", *matrix) + mp4[at + 36 :]


def edited(mp4: bytes, *edits: tuple[int, int]) -> bytes:
    """Return the video with an edit list: milliseconds of each edit, and its first tick of the media or -1."""
    elst = b"elst" + struct.pack(">II", 0, len(edits))
    elst += b"".join(struct.pack(">IiI", duration, at, 0x10000) for duration, at in edits)
    start = mp4.index(b"edts") - 4
    (size,) = struct.unpack_from(">I", mp4, start)
    edts = struct.pack(">I4sI", 12 + len(elst), b"edts", 4 + len(elst)) + elst
    grown = bytearray(mp4[:start] + edts + mp4[start + size :])
    for kind in (b"moov", b"trak"):
        at = grown.index(kind) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", grown, at)[0] + len(edts) - size)
    return bytes(grown)


def picture_of(colour: Colour, size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a PNG."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "rgb24"
    encoder.time_base = Fraction(1, 25)
    frame = _painted(size, colour, None).reformat(format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def pixels(picture: bytes) -> tuple[tuple[int, int], dict[str, tuple[int, int, int]]]:
    """Return the size of a picture and the RGB of its centre and of a point near each corner."""
    with av.open(io.BytesIO(picture), "r") as file:
        frame = next(file.decode(video=0)).reformat(format="rgb24")
    plane = frame.planes[0]
    data = bytes(plane)
    width, height = frame.width, frame.height

    def rgb(x: float, y: float) -> tuple[int, int, int]:
        at = int(y * height) * plane.line_size + 3 * int(x * width)
        return data[at], data[at + 1], data[at + 2]

    points = {"centre": (0.5, 0.5), "nw": (0.1, 0.1), "ne": (0.9, 0.1), "sw": (0.1, 0.9), "se": (0.9, 0.9)}
    return (width, height), {name: rgb(*point) for name, point in points.items()}


def loudness(mp3: bytes) -> tuple[float, float]:
    """Return the root mean square of an MP3's samples, of 0 to 1, and its length in seconds."""
    total, count, seconds = 0.0, 0, 0.0
    with av.open(io.BytesIO(mp3), "r") as file:
        to_floats = av.AudioResampler(format="flt", layout="mono", rate=22_050)
        for frame in file.decode(audio=0):
            for part in to_floats.resample(frame):
                samples = memoryview(bytes(part.planes[0])[: 4 * part.samples]).cast("f")
                total += sum(sample * sample for sample in samples)
                count += part.samples
                seconds += part.samples / part.sample_rate
    return (total / max(1, count)) ** 0.5, seconds


def _painted(size: tuple[int, int], colour: Colour, corner: Colour | None) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plain = bytes([colour[number]]) * plane.line_size
        half = plane.width // 2
        cornered = bytes([(corner or colour)[number]]) * half + plain[half:]
        plane.update(cornered * (plane.height // 2) + plain * (plane.height - plane.height // 2))
    return frame
