"""Sound: checking voice notes, and making MP3 of speech."""

import io
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import av

from botkit import AudioInfo
from chat_service.media.base import MediaError
from chat_service.media.boxes import USUAL_LIMITS, WorkLimits, check_boxes, media_are_missing, refuse_encrypted
from chat_service.media.container import AV_TIME_BASE, SOUND_DECODERS, moving_pictures, open_media
from chat_service.media.formats import check_format
from chat_service.media.pcm import SILENT_PEAK, PcmRecording
from chat_service.media.tags import without_notes, without_tags
from chat_service.media.torn import is_torn
from frameproto import Buffer, RequestKind
from frameproto.media import FileFormat, identify

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

BIT_RATE: Final = 48_000  # bits a second; plenty for one voice
EFFORT: Final = "7"  # of LAME, 0 (best) to 9; less than half the time of its default, and no worse for one voice
BYTES_PER_SAMPLE: Final = 2
SHORTEST_SECONDS: Final = 0.02  # less is not a sound; one MP3 frame is longer
LEAST_SHARE: Final = 0.5  # of the bytes must be sound, or it is no recording
TOLERATED_SHARE: Final = 0.05  # of the length that a header tells may be missing: encoders round
TOLERATED_SECONDS: Final = 0.1
SAMPLES: Final = {"u8": ("B", 128), "s16": ("h", 1 << 15), "s32": ("i", 1 << 31), "flt": ("f", 1), "dbl": ("d", 1)}
TAGGED: Final = frozenset({None, FileFormat.MP3, FileFormat.AAC})  # formats that have ID3 and APE tags around them
MP4_FAMILY: Final = frozenset({FileFormat.MP4, FileFormat.M4A})
INFO_WITHIN_BYTES: Final = 200  # where the first frame of an MP3 tells about the others, if it does
INFO_HAS_FRAMES: Final = 1


def probe_audio(
    file: Buffer,
    *,
    max_seconds: float,
    other_formats: bool = True,
    limits: WorkLimits = USUAL_LIMITS,
    sound: PcmRecording | None = None,
) -> AudioInfo:
    """Decode a voice note from beginning to end; what is damaged in it is left out.

    Args:
        file: the whole file.
        max_seconds: how long it may be.
        other_formats: whether it may be something else than an MP3.
        limits: how much work it may be.
        sound: gets what is to be heard.

    Raises:
        MediaError: `media_unreadable` when it is not such a file with sound in it, `media_too_long`,
            `media_too_complex`.
    """
    if identify(file) in TAGGED:
        file = without_tags(file)
    found = identify(file)
    file_format = check_format(found, RequestKind.VOICE, other_formats=other_formats)
    torn = is_torn(file, file_format)
    if file_format in MP4_FAMILY:
        boxes = check_boxes(file, limits, torn_allowed=True)
        torn = media_are_missing(file, boxes)
        refuse_encrypted(file, boxes)
        file = without_notes(file, boxes)
    with open_media(file, file_format, decoders=SOUND_DECODERS, guessed=found is None) as container:
        track = _sound_track(container, file_format)
        claimed = _claimed_length(container, file_format) if _tells_length(file, file_format) else 0.0
        heard = _listen(container, track, file_format, claimed=claimed, max_seconds=max_seconds, sound=sound)
    return replace(heard, whole=heard.whole and not torn)


def _sound_track(container: "InputContainer", file_format: FileFormat) -> "AudioStream":
    """Return what is to be heard; a song may carry its cover as a picture."""
    if moving_pictures(container):
        raise MediaError("media_unreadable", f"this {file_format.label} has a picture; send it as a video")
    track = next(iter(container.streams.audio), None)
    if track is None:
        raise MediaError("media_unreadable", f"there is no sound track in this {file_format.label}; send a recording")
    codec = getattr(track.codec_context, "name", "")  # FFmpeg has no decoder for unknown codecs
    if codec not in SOUND_DECODERS:
        which = f"codec {codec}" if codec else "codec"
        raise MediaError("media_unreadable", f"the {which} of this {file_format.label} is not known here; convert it")
    return track


def _listen(
    container: "InputContainer",
    track: "AudioStream",
    file_format: FileFormat,
    *,
    claimed: float,
    max_seconds: float,
    sound: PcmRecording | None,
) -> AudioInfo:
    """Decode all that can be decoded; only that counts, whatever a header claims."""
    seconds, loudest = 0.0, 0.0
    sound_bytes = damaged_bytes = 0
    damaged, whole = False, True
    for packet in container.demux(track):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            damaged = True
            damaged_bytes += packet.size
            continue
        if frames and damaged:
            whole, damaged = whole and seconds == 0, False  # what comes before the sound or behind it is not missed
        sound_bytes += packet.size
        for frame in frames:
            seconds += frame.samples / frame.sample_rate
            loudest = max(loudest, _peak(frame))
            if seconds > max_seconds:
                raise MediaError("media_too_long", f"voice notes may last {max_seconds:g} seconds; send a shorter one")
            if sound is not None:
                sound.add(frame)
    if sound is not None:
        sound.finish()
    if seconds < SHORTEST_SECONDS:
        raise MediaError("media_unreadable", f"there is no sound in this {file_format.label}; record it again")
    if sound_bytes < LEAST_SHARE * (sound_bytes + damaged_bytes):
        raise MediaError("media_unreadable", f"most of this {file_format.label} is damaged; send it again")
    whole = whole and seconds >= claimed * (1 - TOLERATED_SHARE) - TOLERATED_SECONDS
    return AudioInfo(seconds, whole, silent=loudest < SILENT_PEAK)


def _peak(frame: av.AudioFrame) -> float:
    """Return about the highest level in a frame, of 0 to 1; every sixteenth sample is looked at."""
    code, scale = SAMPLES[frame.format.packed.name]
    middle = scale if code == "B" else 0
    levels = [array(code, bytes(plane))[::16] for plane in frame.planes]
    return max((max(max(level) - middle, middle - min(level)) for level in levels if level), default=0) / scale


def _claimed_length(container: "InputContainer", file_format: FileFormat) -> float:
    claimed = container.duration or 0
    if file_format is FileFormat.WEBM:  # there it includes the time before the first sound
        claimed -= max(0, container.start_time or 0)
    return claimed / AV_TIME_BASE


def _tells_length(file: Buffer, file_format: FileFormat) -> bool:
    """Say whether the length that FFmpeg names comes from the file; for a bare stream of frames it only guesses."""
    if file_format is FileFormat.MP3:
        head = bytes(memoryview(file)[:INFO_WITHIN_BYTES])
        at = max(head.find(b"Xing"), head.find(b"Info"))
        return b"VBRI" in head or (at >= 0 and head[at + 7 : at + 8] != b"" and head[at + 7] & INFO_HAS_FRAMES != 0)
    return file_format is not FileFormat.AAC


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
