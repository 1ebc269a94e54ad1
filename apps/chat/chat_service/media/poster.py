"""Posters: one frame of a video as a JPEG, as a player shows it, in the colours a viewer expects, and not too large."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
from av.video.reformatter import Colorspace, Interpolation

from chat_service.media.filters import filter_graph
from chat_service.media.geometry import Geometry, Orientation

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG_SIDE: Final = 1280  # pixels
QUALITY: Final = "4"  # JPEG quantiser, 2 (best) to 31
DARK: Final = 40  # mean lightness of 0 to 255; below, it is a fade-in or the inside of a pocket
PATIENCE: Final = 120  # frames decoded on the way to the wanted time, counted from the key frame before it
SEARCH: Final = 60  # frames looked at from there on for one that is not dark
THUMB: Final = (32, 18)


def choose_frame(frames: "Iterable[av.VideoFrame]", *, at_seconds: float) -> av.VideoFrame | None:
    """Return the first frame from this time on that is not dark, else the lightest one, else the last before it."""
    before: av.VideoFrame | None = None
    lightest: tuple[float, av.VideoFrame] | None = None
    looked_at = 0
    for count, frame in enumerate(frames):
        if count < PATIENCE and _shown_at(frame) < at_seconds:
            before = frame
            continue
        lightness = _lightness(frame)
        if lightest is None or lightness > lightest[0]:
            lightest = lightness, frame
        looked_at += 1
        if lightness >= DARK or looked_at >= SEARCH:
            break
    return lightest[1] if lightest else before


def make_poster(frame: av.VideoFrame, geometry: Geometry) -> bytes:
    """Return the frame as a JPEG (JFIF: BT.601, full range)."""
    return encode_jpeg(fit(frame, geometry, LONG_SIDE))


def fit(frame: av.VideoFrame, geometry: Geometry, longest: int) -> av.VideoFrame:
    """Return the frame as a player shows it, made small enough that no side is longer, in the form of a JPEG."""
    width, height = geometry.square_size(frame)
    scale = min(1.0, longest / max(width, height))
    small = frame.reformat(
        _even(width * scale),
        _even(height * scale),
        "yuvj420p",
        dst_colorspace=Colorspace.ITU601,
        interpolation=Interpolation.AREA if scale < 1 else None,
        threads=1,  # as in filter_graph
    )
    return _oriented(small, geometry.orientation)


def _shown_at(frame: av.VideoFrame) -> float:
    """Return when the frame is shown, in seconds; one that does not say is as good as any."""
    return math.inf if frame.pts is None else frame.time


def _even(size: float) -> int:
    return max(2, round(size / 2) * 2)


def _lightness(frame: av.VideoFrame) -> float:
    width, height = THUMB
    plane = frame.reformat(width, height, "gray", threads=1).planes[0]
    padded = bytes(plane)
    rows = (padded[row * plane.line_size : row * plane.line_size + width] for row in range(height))
    return sum(map(sum, rows)) / (width * height)


def _oriented(frame: av.VideoFrame, orientation: Orientation) -> av.VideoFrame:
    if orientation is Orientation.UPRIGHT:
        return frame
    graph = filter_graph()
    steps = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        ),
        *(graph.add(*step.split("=")) for step in orientation.steps),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    graph.vpush(frame)
    return graph.vpull()


def encode_jpeg(frame: av.VideoFrame) -> bytes:
    """Return a frame that has the form of a JPEG (yuvj420p) as one."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1  # one picture gains nothing from more
    encoder.options = {"qmin": QUALITY, "qmax": QUALITY, "flags": "+bitexact"}  # or it names its FFmpeg
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
