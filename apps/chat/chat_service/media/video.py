"""Video: checking that an MP4 is whole, and what is to be said about it.

What a player presents counts, not what is stored: an edit list (ISO/IEC 14496-12, 8.6.6) may show two seconds of ten.
FFmpeg's demuxer follows it: it marks the packets that only prepare for others, and counts time from the beginning of
what is shown.
"""

import contextlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av

from botkit import VideoInfo
from chat_service.media.base import MediaError
from chat_service.media.boxes import USUAL_LIMITS, WorkLimits, check_boxes, refuse_encrypted
from chat_service.media.contact_sheet import Still, choose_shots, make_contact_sheet
from chat_service.media.container import (
    AV_TIME_BASE,
    MAX_PIXELS,
    PICTURE_DECODERS,
    SOUND_DECODERS,
    moving_pictures,
    open_media,
)
from chat_service.media.formats import check_format
from chat_service.media.geometry import Geometry
from chat_service.media.pcm import PcmRecording, record
from chat_service.media.poster import choose_frame, make_poster
from chat_service.media.shots import find_shots
from chat_service.media.tags import without_notes
from chat_service.media.torn import is_torn
from frameproto import Buffer, RequestKind
from frameproto.media import FileFormat, identify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

MAX_PACKETS: Final = 500_000  # of picture and sound; an hour at 60 a second has fewer
MISSING_SECONDS: Final = 0.001  # less is rounding; the frames of 240 a second last four times as long
POSTER_AT: Final = 1 / 3  # of the length: past the titles, before the end


def probe_video(
    file: Buffer,
    *,
    max_seconds: float,
    other_formats: bool = True,
    limits: WorkLimits = USUAL_LIMITS,
    sound: PcmRecording | None = None,
) -> VideoInfo:
    """Check a video, read all of its frames, decode what the poster needs.

    Args:
        file: the whole file.
        max_seconds: how long it may be.
        other_formats: whether it may be something else than an MP4.
        limits: how much work it may be.
        sound: gets what is to be heard.

    Raises:
        MediaError: `media_unreadable` when it is not a whole file with a picture we can decode, `media_too_long`,
            `media_too_complex`.
    """
    file_format = check_format(identify(file), RequestKind.VIDEO, other_formats=other_formats)
    if is_torn(file, file_format):
        raise MediaError("media_unreadable", f"the {file_format.label} is cut short or damaged; send the whole file")
    if file_format is not FileFormat.WEBM:
        boxes = check_boxes(file, limits)
        refuse_encrypted(file, boxes)
        file = without_notes(file, boxes)
    with open_media(file, file_format, decoders=(*PICTURE_DECODERS, *SOUND_DECODERS)) as container:
        track = _picture_track(container, file_format)
        shown = _presentation(container, track, file_format)
        if shown.seconds > max_seconds:
            raise MediaError("media_too_long", f"videos may last {max_seconds:g} seconds; send a shorter one")
        shots = _shots(file, file_format, shown)
        several = len(shots) > 1
        poster_at = shown.began + (shown.ended - shown.began) * POSTER_AT
        moments = choose_shots(shots, shown.ended) if several else [poster_at]
        stills = [
            Still(frame, at - shown.began) for at in moments if (frame := _frame_at(container, track, at)) is not None
        ]
        if not stills:
            raise MediaError("media_unreadable", f"no picture of this {file_format.label} can be decoded")
        ratio = track.sample_aspect_ratio  # PyAV before 19, for Python 3.11, has a Fraction; since then its own type
        pixel_ratio = Fraction(ratio.numerator, ratio.denominator) if ratio and ratio.denominator else None
        geometry = Geometry.of(stills[0].frame, pixel_ratio)
        width, height = geometry.shown_size(stills[0].frame)
        picture = make_contact_sheet(stills, geometry) if several else make_poster(stills[0].frame, geometry)
        if sound is not None and (audible := _sound_track(container)) is not None:
            _record(file, file_format, audible.index, sound, max_seconds=max_seconds)
        return VideoInfo(shown.seconds, width, height, picture, bool(container.streams.audio), len(shots))


@dataclass(frozen=True, slots=True)
class Presentation:
    """What a player shows of a video.

    Attributes:
        began: when the first picture is shown, in seconds of the file's own time.
        ended: when the last one ends.
        seconds: how long the whole lasts, sound included.
    """

    began: float
    ended: float
    seconds: float


def _shots(file: Buffer, file_format: FileFormat, shown: Presentation) -> list[float]:
    """Return when each shot begins. The file is opened anew, as the decoder may be told to leave frames out."""
    with open_media(file, file_format, decoders=PICTURE_DECODERS) as container:
        track = _picture_track(container, file_format)
        return find_shots(container, track, began=shown.began, ended=shown.ended)


def _record(file: Buffer, file_format: FileFormat, index: int, sound: PcmRecording, *, max_seconds: float) -> None:
    """Collect the sound. The file is opened anew: back to its start leads to the first picture, behind some sound."""
    with open_media(file, file_format, decoders=SOUND_DECODERS) as container:
        track = container.streams[index]
        if isinstance(track, av.AudioStream):
            record(container, track, sound, max_seconds=max_seconds)


def _frame_at(container: "InputContainer", track: "VideoStream", at_seconds: float) -> av.VideoFrame | None:
    container.seek(_ticks(track, at_seconds), stream=track)
    return choose_frame(_decodable(container, track), at_seconds=at_seconds)


def _picture_track(container: "InputContainer", file_format: FileFormat) -> "VideoStream":
    """Return the track that moves."""
    label = file_format.label
    track = next(iter(moving_pictures(container)), None)
    if track is None:
        alone = "; send it as a voice note" if container.streams.audio else "; send a video"
        raise MediaError("media_unreadable", f"there is no video track in this {label}{alone}")
    decoder = track.codec_context
    if getattr(decoder, "name", None) not in PICTURE_DECODERS:  # there is no decoder for a codec unknown to FFmpeg
        raise MediaError("media_unreadable", f"this {label} is not H.264, H.265, MPEG-4, VP8, VP9 or AV1; convert it")
    if decoder.width * decoder.height <= 0:  # FFmpeg leaves out a size above its max_pixels
        raise MediaError("media_unreadable", f"pictures of this {label} are too large, or have no size; 4K will do")
    if decoder.width * decoder.height > MAX_PIXELS:
        raise MediaError("media_unreadable", f"pictures of {decoder.width}x{decoder.height} are too large; 4K will do")
    # One thread: decoding with several multiplies the memory, and messages are decoded side by side as it is.
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS)}  # the frames themselves may claim another size
    return track


def _sound_track(container: "InputContainer") -> "AudioStream | None":
    """Return a track whose sound can be decoded, if there is one."""
    known = (track for track in container.streams.audio if getattr(track.codec_context, "name", "") in SOUND_DECODERS)
    return next(known, None)


def _presentation(container: "InputContainer", track: "VideoStream", file_format: FileFormat) -> Presentation:
    """Read every packet, still compressed, and return what is shown of it, whichever of its clocks says more."""
    label = file_format.label
    count = pictures = damaged = 0
    began, ended, sound_ended = math.inf, -math.inf, 0.0
    for packet in container.demux():
        if packet.size == 0:
            continue  # the end mark
        count += 1
        if count > MAX_PACKETS:
            raise MediaError("media_unreadable", f"this {label} has more than {MAX_PACKETS} frames; send a shorter one")
        pictures += packet.stream_index == track.index
        if packet.is_discard or packet.pts is None:
            continue  # only there so that others can be decoded
        packet_ended = _seconds(packet.stream, packet.pts + (packet.duration or 0))
        if packet.stream_index != track.index:
            sound_ended = max(sound_ended, packet_ended)
            continue
        damaged += packet.is_corrupt
        began = min(began, _seconds(track, packet.pts))
        ended = max(ended, packet_ended)
    if began > ended:
        raise MediaError("media_unreadable", f"no picture of this {label} is ever shown; send another video")
    claimed = (container.duration or 0) / AV_TIME_BASE
    if file_format is FileFormat.WEBM:
        # the length it tells is a round one
        missing = max(ended, sound_ended) < claimed - max(1 / 10, claimed / 20)
    else:
        # An edit list leaves frames out on purpose, but then the track says so in its length.
        frames_missing = pictures < track.frames
        missing = frames_missing and ended - began < _seconds(track, track.duration or 0) - MISSING_SECONDS
    if damaged or missing:
        raise MediaError("media_unreadable", f"the {label} is cut short: frames are missing; send the whole file")
    return Presentation(began, ended, max(ended - began, claimed))


def _decodable(container: "InputContainer", track: "VideoStream") -> "Iterator[av.VideoFrame]":
    """Yield the frames that can be decoded; a player goes on behind a damaged one, too."""
    for packet in container.demux(track):
        with contextlib.suppress(av.InvalidDataError):
            yield from packet.decode()


def _seconds(track: "Stream", ticks: int) -> float:
    return float(ticks * track.time_base) if track.time_base else 0.0


def _ticks(track: "VideoStream", seconds: float) -> int:
    return int(seconds / track.time_base) if track.time_base else 0
