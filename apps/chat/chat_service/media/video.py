"""Video: checking that an MP4 is whole, and what is to be said about it."""

from typing import TYPE_CHECKING, Final

from chat_service.media.base import MediaError, Seen
from chat_service.media.boxes import check_boxes
from chat_service.media.opening import MAX_PIXELS, MP4_FORMATS, PICTURE_DECODERS, SOUND_DECODERS, open_media
from chat_service.media.poster import choose_frame, displayed_size, make_poster
from chat_service.media.tags import without_notes

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_FRAMES: Final = 200_000  # of the longest videos anybody would allow, an hour at 60 a second has as many
AV_TIME_BASE: Final = 1_000_000  # FFmpeg counts the length of a file in microseconds
POSTER_AT: Final = 1 / 3  # of the length: past the titles, before the end


def see(mp4: bytes, *, max_seconds: float) -> Seen:
    """Check a video, read all of its frames, decode what the poster needs.

    Args:
        mp4: the whole file.
        max_seconds: how long it may be.

    Raises:
        MediaError: `media_unreadable` when it is not a whole MP4 with a picture we can decode, `media_too_long`.
    """
    check_boxes(mp4)
    with open_media(
        without_notes(mp4), formats=MP4_FORMATS, decoders=(*PICTURE_DECODERS, *SOUND_DECODERS), what="an MP4"
    ) as container:
        track = _picture_track(container)
        seconds = _checked_seconds(container, track)
        if seconds > max_seconds:
            raise MediaError("media_too_long", f"videos may last {max_seconds:g} seconds; send a shorter one")
        container.seek(_ticks(track, seconds * POSTER_AT), stream=track)
        began = _seconds(track, track.start_time or 0)
        frame = choose_frame(container.decode(track), at_seconds=began + seconds * POSTER_AT)
        if frame is None:
            raise MediaError("media_unreadable", "no picture of this MP4 can be decoded")
        width, height = displayed_size(frame)
        return Seen(seconds, width, height, make_poster(frame), has_sound=bool(container.streams.audio))


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


def _checked_seconds(container: "InputContainer", track: "VideoStream") -> float:
    """Read every frame, still compressed; return how long the video is, whichever of its clocks says more."""
    count, end = 0, 0
    for packet in container.demux(track):
        if packet.size == 0:
            continue  # the end mark
        count += 1
        if packet.is_corrupt or count > MAX_FRAMES:
            raise MediaError("media_unreadable", "the MP4 is cut short or damaged; send the whole file")
        if packet.pts is not None:
            end = max(end, packet.pts + (packet.duration or 0) - (track.start_time or 0))
    if count == 0 or count < track.frames:
        raise MediaError("media_unreadable", "the MP4 is cut short: frames are missing; send the whole file")
    return max(_seconds(track, end), (container.duration or 0) / AV_TIME_BASE)


def _seconds(track: "VideoStream", ticks: int) -> float:
    return float(ticks * track.time_base) if track.time_base else 0.0


def _ticks(track: "VideoStream", seconds: float) -> int:
    return (track.start_time or 0) + (int(seconds / track.time_base) if track.time_base else 0)
