"""Where the shots of a video begin: FFmpeg's scene filter scores how much each frame differs from the one before it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import av

from chat_service.media.filters import filter_graph

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

SMALL: Final = "160:-2:flags=fast_bilinear"  # the size in which frames are compared
CUT: Final = 0.3  # of 0 to 1; a cut between two plain colours has about 0.5, quick movement less than 0.2
CUT_OF_KEY_FRAMES: Final = 0.4  # between key frames, seconds apart, more moves
SHORTEST_SECONDS: Final = 0.5  # what is shorter is a flash
ALL_FRAMES_PIXELS: Final = 1_000_000_000  # of a video whose frames are all looked at: about 4 seconds of CPU
MAX_PIXELS: Final = 1_500_000_000  # decoded at most; what follows is taken for one shot
MAX_CUTS: Final = 1_000


def find_shots(container: "InputContainer", track: "VideoStream", *, began: float, ended: float) -> list[float]:
    """Return when each shot begins, in seconds of the file's own time; the first when the video does.

    A long video of many pixels is judged by its key frames, which encoders set at cuts.

    Args:
        container: of the video, nothing of which was decoded yet.
        track: the pictures.
        began: when the first picture is shown.
        ended: when the last one ends.
    """
    decoder = track.codec_context
    pixels = decoder.width * decoder.height
    rate = float(track.average_rate or track.guessed_rate or 30)
    threshold = CUT
    if (ended - began) * rate * pixels > ALL_FRAMES_PIXELS:
        decoder.skip_frame = "NONKEY"
        threshold = CUT_OF_KEY_FRAMES
    cuts: list[float] = []
    # A size that changes in the middle, or damage: what was found until then holds.
    with contextlib.suppress(av.FFmpegError, ValueError):
        _scan(container, track, cuts, threshold=threshold, max_frames=max(1, MAX_PIXELS // max(1, pixels)))
    return _apart([began, *(cut for cut in cuts if began < cut < ended)], ended)


def _scan(
    container: "InputContainer", track: "VideoStream", cuts: list[float], *, threshold: float, max_frames: int
) -> None:
    graph = filter_graph()
    steps = (
        graph.add_buffer(template=track),
        graph.add("scale", SMALL),
        graph.add("select", f"gt(scene,{threshold})"),
        graph.add("buffersink"),
    )
    graph.link_nodes(*steps).configure()
    for count, frame in enumerate(_frames(container, track)):
        if count >= max_frames or len(cuts) >= MAX_CUTS:
            return
        graph.vpush(frame)
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                cut = graph.vpull()
                if cut.pts is not None:
                    cuts.append(cut.time)


def _frames(container: "InputContainer", track: "VideoStream") -> "Iterator[av.VideoFrame]":
    for packet in container.demux(track):
        with contextlib.suppress(av.InvalidDataError):
            yield from packet.decode()


def _apart(begins: Sequence[float], ended: float) -> list[float]:
    """Return the beginnings without those of shots that are too short to be seen."""
    kept = [begins[0]]
    for begin in begins[1:]:
        if begin - kept[-1] >= SHORTEST_SECONDS and ended - begin >= SHORTEST_SECONDS:
            kept.append(begin)
    return kept
