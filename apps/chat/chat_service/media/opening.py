"""How untrusted media is opened: as one container format only, with known decoders only, reading nothing but itself.

FFmpeg guesses formats, and some of those it knows (playlists, concatenations) make it open other files and addresses.
The whitelists keep it from all of them.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import av

from chat_service.media.base import MediaError
from frameproto import Buffer

if TYPE_CHECKING:
    from av.container import InputContainer

MP3_FORMATS: Final = "mp3"
MP4_FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's one name for the whole family
MP3_DECODERS: Final = ("mp3float", "mp3")
PICTURE_DECODERS: Final = ("h264", "hevc", "mpeg4", "vp9", "libdav1d", "av1")
SOUND_DECODERS: Final = (*MP3_DECODERS, "aac", "opus", "ac3", "eac3", "alac", "flac")
# Before PyAV 19 a song title that is not UTF-8 was an error; since then it is not, and the option is gone.
LENIENT: Final[dict[str, Any]] = {"metadata_errors": "ignore"} if av.__version__ < "19" else {}
MAX_PIXELS: Final = 4096 * 2304  # a little more than 4K; one decoded picture then takes 14 MB


@contextmanager
def open_media(data: Buffer, *, formats: str, decoders: tuple[str, ...], what: str) -> "Iterator[InputContainer]":
    """Open voice or video for reading, and turn what FFmpeg says about it into our own error.

    Args:
        data: the whole file.
        formats: names of the container formats that are allowed.
        decoders: names of the decoders that are allowed.
        what: how to call it in messages, e.g. "an MP3".

    Raises:
        MediaError: `media_unreadable`; from opening it or from anything inside the `with` block.
    """
    options = {
        "format_whitelist": formats,
        "codec_whitelist": ",".join(decoders),
        "protocol_whitelist": "none",
        "max_pixels": str(MAX_PIXELS),
    }
    try:
        with av.open(io.BytesIO(data), "r", options=options, **LENIENT) as container:
            yield container
    except MemoryError as bomb:
        raise MediaError("media_unreadable", f"this is {what} that takes too much memory to decode") from bomb
    except av.FFmpegError as unreadable:
        raise MediaError("media_unreadable", f"this is not {what}, or it is damaged; send {what}") from unreadable
