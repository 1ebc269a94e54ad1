"""Video: checking that an MP4 is whole, and what is to be said about it.

What a player presents counts, not what is stored: an edit list (ISO/IEC 14496-12, 8.6.6) may show two seconds of ten.
FFmpeg's demuxer follows it: it marks the packets that only prepare for others, and counts time from the beginning of
what is shown.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chat_service.media.base import MediaError, Seen
from chat_service.media.boxes import check_boxes
from chat_service.media.geometry import Geometry
from chat_service.media.opening import MAX_PIXELS, MP4_FORMATS, PICTURE_DECODERS, SOUND_DECODERS, open_media
from chat_service.media.poster import choose_frame, make_poster
from chat_service.media.tags import without_notes

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_FRAMES: Final = 200_000  # of the longest videos anybody would allow, an hour at 60 a second has as many
AV_TIME_BASE: Final = 1_000_000  # FFmpeg counts the length of a file in microseconds
MISSING_SECONDS: Final = 0.001  # less is rounding; the frames of 240 a second last four times as long
POSTER_AT: Final = 1 / 3  # of the length: past the titles, before the end


def see(mp4: bytes, *, max_seconds: float) -> Seen:
    """Check a video, read all of its frames, decode what the poster needs.

    Args:
        mp4: the whole file.
        max_seconds: how long it may be.

    Raises:
        MediaError: `media_unreadable` when it is not a whole MP4 with a picture we can decode, `media_too_long`.
    """
    boxes = check_boxes(mp4)
    with open_media(
        without_notes(mp4, boxes), formats=MP4_FORMATS, decoders=(*PICTURE_DECODERS, *SOUND_DECODERS), what="an MP4"
    ) as container:
        track = _picture_track(container)
        shown = _presentation(container, track)
        if shown.seconds > max_seconds:
            raise MediaError("media_too_long", f"videos may last {max_seconds:g} seconds; send a shorter one")
        at_seconds = shown.began + (shown.ended - shown.began) * POSTER_AT
        container.seek(_ticks(track, at_seconds), stream=track)
        frame = choose_frame(container.decode(track), at_seconds=at_seconds)
        if frame is None:
            raise MediaError("media_unreadable", "no picture of this MP4 can be decoded")
        geometry = Geometry.of(frame, track.sample_aspect_ratio)
        width, height = geometry.shown_size(frame)
        return Seen(shown.seconds, width, height, make_poster(frame, geometry), bool(container.streams.audio))


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


def _picture_track(container: "InputContainer") -> "VideoStream":
    """Return the track that moves; a song may carry its cover as a picture track."""
    cover = type(next(iter(container.streams)).disposition).attached_pic if container.streams else None
    track = next((track for track in container.streams.video if cover is None or not track.disposition & cover), None)
    if track is None:
        raise MediaError("media_unreadable", "there is no video track in this MP4; send a video")
    decoder = track.codec_context
    if getattr(decoder, "name", None) not in PICTURE_DECODERS:  # there is no decoder for a codec unknown to FFmpeg
        raise MediaError("media_unreadable", "this MP4 is not H.264, H.265, MPEG-4, VP9 or AV1; convert it")
    if not 0 < decoder.width * decoder.height <= MAX_PIXELS:
        raise MediaError("media_unreadable", f"pictures of {decoder.width}x{decoder.height} are too large; 4K will do")
    # One thread: decoding with several multiplies the memory, and messages are decoded side by side as it is.
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(MAX_PIXELS)}  # the frames themselves may claim another size
    return track


def _presentation(container: "InputContainer", track: "VideoStream") -> Presentation:
    """Read every packet, still compressed, and return what is shown of it, whichever of its clocks says more."""
    count = 0
    began, ended = math.inf, -math.inf
    for packet in container.demux(track):
        if packet.size == 0:
            continue  # the end mark
        count += 1
        if count > MAX_FRAMES:
            raise MediaError("media_unreadable", f"the MP4 has more than {MAX_FRAMES} frames; send a shorter one")
        if packet.is_discard or packet.pts is None:
            continue  # only there so that others can be decoded
        if packet.is_corrupt:
            raise MediaError("media_unreadable", "the MP4 is cut short: frames are missing; send the whole file")
        began = min(began, _seconds(track, packet.pts))
        ended = max(ended, _seconds(track, packet.pts + (packet.duration or 0)))
    if began > ended:
        raise MediaError("media_unreadable", "no picture of this MP4 is ever shown; send another video")
    # An edit list leaves frames out on purpose, but then the track says so in its length.
    if count < track.frames and ended - began < _seconds(track, track.duration or 0) - MISSING_SECONDS:
        raise MediaError("media_unreadable", "the MP4 is cut short: frames are missing; send the whole file")
    return Presentation(began, ended, max(ended - began, (container.duration or 0) / AV_TIME_BASE))


def _seconds(track: "VideoStream", ticks: int) -> float:
    return float(ticks * track.time_base) if track.time_base else 0.0


def _ticks(track: "VideoStream", seconds: float) -> int:
    return int(seconds / track.time_base) if track.time_base else 0
