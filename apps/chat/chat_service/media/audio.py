"""Sound: checking voice notes, and making MP3 of speech."""

import io
from typing import TYPE_CHECKING, Final

import av

from chat_service.media.base import Heard, MediaError
from chat_service.media.opening import MP3_DECODERS, MP3_FORMATS, open_media
from chat_service.media.tags import without_tags

if TYPE_CHECKING:
    from av.container import InputContainer

BIT_RATE: Final = 48_000  # bits a second; plenty for one voice
EFFORT: Final = "7"  # of LAME, 0 (best) to 9; less than half the time of its default, and no worse for one voice
BYTES_PER_SAMPLE: Final = 2
SHORTEST_SECONDS: Final = 0.02  # less is not a sound; one MP3 frame is longer


def hear(mp3: bytes, *, max_seconds: float) -> Heard:
    """Decode a voice note from beginning to end.

    Args:
        mp3: the whole file.
        max_seconds: how long it may be.

    Raises:
        MediaError: `media_unreadable` when it is not an MP3 with sound in it, `media_too_long`.
    """
    with open_media(without_tags(mp3), formats=MP3_FORMATS, decoders=MP3_DECODERS, what="an MP3") as container:
        seconds = _decoded_seconds(container, max_seconds)
    if seconds < SHORTEST_SECONDS:
        raise MediaError("media_unreadable", "there is no sound in this MP3; record it again")
    return Heard(seconds)


def _decoded_seconds(container: "InputContainer", max_seconds: float) -> float:
    """Return how much sound there really is; the length that a header claims may be anything."""
    track = next(iter(container.streams.audio), None)
    if track is None or track.codec_context.name not in MP3_DECODERS:
        raise MediaError("media_unreadable", "there is no MP3 sound in this file; send an MP3")
    seconds = 0.0
    for frame in container.decode(track):
        seconds += frame.samples / frame.sample_rate
        if seconds > max_seconds:
            raise MediaError("media_too_long", f"voice notes may last {max_seconds:g} seconds; send a shorter one")
    return seconds


def encode_mp3(pcm: bytes, *, sample_rate: int) -> bytes:
    """Return one voice as MP3.

    Args:
        pcm: signed 16-bit samples of one channel, in the byte order of this machine.
        sample_rate: samples a second.
    """
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // BYTES_PER_SAMPLE)
    frame.planes[0].update(pcm)
    frame.sample_rate = sample_rate
    mp3 = io.BytesIO()
    # Without "bitexact" the file would name the version of FFmpeg, and the same text would not always be the same MP3.
    with av.open(mp3, "w", format="mp3", options={"fflags": "+bitexact"}) as container:
        track = container.add_stream("libmp3lame", rate=sample_rate, layout="mono")
        track.bit_rate = BIT_RATE
        track.options = {"compression_level": EFFORT}
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return mp3.getvalue()
