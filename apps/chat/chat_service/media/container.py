"""How untrusted media is opened: as one container format only, with known decoders only, reading nothing but itself.

FFmpeg guesses formats, and some of those it knows (playlists, concatenations) make it open other files and addresses.
The whitelists keep it from all of them.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import av

from chat_service.media.base import MediaError
from frameproto import Buffer
from frameproto.media import FileFormat

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MP4_FAMILY: Final = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's one name for all of them
DEMUXERS: Final = {  # as FFmpeg names them; each of several names of one stands for it
    FileFormat.MP3: "mp3",
    FileFormat.MP4: MP4_FAMILY,
    FileFormat.M4A: MP4_FAMILY,
    FileFormat.QUICKTIME: MP4_FAMILY,
    FileFormat.AAC: "aac",
    FileFormat.OGG: "ogg",
    FileFormat.WAV: "wav",
    FileFormat.FLAC: "flac",
    FileFormat.WEBM: "matroska,webm",
}
MP3_DECODERS: Final = ("mp3float", "mp3")
PCM_DECODERS: Final = (
    "pcm_s16le",
    "pcm_s16be",
    "pcm_s24le",
    "pcm_s24be",
    "pcm_s32le",
    "pcm_s32be",
    "pcm_f32le",
    "pcm_f64le",
    "pcm_u8",
    "pcm_alaw",
    "pcm_mulaw",
)
PICTURE_DECODERS: Final = ("h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1")
SOUND_DECODERS: Final = (
    *MP3_DECODERS,
    *("aac", "opus", "vorbis", "ac3", "eac3", "alac", "flac", "amrnb", "amrwb"),
    *PCM_DECODERS,
)
# Before PyAV 19 a song title that is not UTF-8 was an error; since then it is not, and the option is gone.
LENIENT: Final[dict[str, Any]] = {"metadata_errors": "ignore"} if av.__version__ < "19" else {}
AV_TIME_BASE: Final = 1_000_000  # FFmpeg counts the length of a file in microseconds
MAX_PIXELS: Final = 4096 * 2304  # a little more than 4K; one decoded picture then takes 14 MB
ROOM_BYTES: Final = 64 * 1024**2  # a decoder keeps several pictures


@contextmanager
def open_media(
    data: Buffer, file_format: FileFormat, *, decoders: tuple[str, ...], guessed: bool = False
) -> "Iterator[InputContainer]":
    """Open voice or video for reading, and turn what FFmpeg says about it into our own error.

    Args:
        data: the whole file.
        file_format: what it is read as.
        guessed: whether nothing in its first bytes says so; then FFmpeg has to find the same.
        decoders: names of the decoders that are allowed.

    Raises:
        MediaError: `media_unreadable` or `media_too_complex`; from opening it or from anything inside the `with` block.
    """
    demuxer = DEMUXERS[file_format]
    options = {
        "format_whitelist": demuxer,
        "codec_whitelist": ",".join(decoders),
        "protocol_whitelist": "none",
        "max_pixels": str(MAX_PIXELS),
    }
    label = file_format.label
    too_much = MediaError("media_too_complex", f"decoding this {label} takes too much memory; send another one")
    try:
        # FFmpeg's own guess would be of a few bytes, and wrong when just these are damaged.
        form = None if guessed else demuxer.partition(",")[0]
        opened = av.open(io.BytesIO(data), "r", format=form, options=options, **LENIENT)
        with opened as container, _room_for_pictures(too_much):
            yield container
    except (MemoryError, av.BlockingIOError) as exc:  # the second: no memory for the stack of a thread
        raise too_much from exc
    except av.FFmpegError as exc:
        raise MediaError(
            "media_unreadable", f"this is not {label}, or it is damaged; send it again as {label}"
        ) from exc


@contextmanager
def _room_for_pictures(too_much: MediaError) -> Iterator[None]:
    """Raise `too_much` when a file is found unreadable and memory is short.

    FFmpeg goes on when a decoder gets no memory. What is missing then is a size or a picture, as in a damaged file.
    """
    try:
        yield
    except (MediaError, av.FFmpegError) as exc:
        if isinstance(exc, MediaError) and exc.code != "media_unreadable":
            raise
        try:
            mmap.mmap(-1, ROOM_BYTES).close()
        except OSError:
            raise too_much from exc
        raise


def moving_pictures(container: "InputContainer") -> "list[VideoStream]":
    """Return the tracks of pictures that move; a song may carry its cover as one more."""
    if not container.streams.video:
        return []
    cover = type(container.streams.video[0].disposition).attached_pic
    return [track for track in container.streams.video if not track.disposition & cover]
