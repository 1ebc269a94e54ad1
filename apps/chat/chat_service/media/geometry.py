"""How a player shows the pictures of a video: the shape of its pixels, then the matrix of its track.

Cameras store what the sensor sees and note beside it how to turn or mirror it (ISO/IEC 14496-12, 8.3.2.3). FFmpeg hands
that note over with each frame as nine integers in 16.16 fixed point, row by row: the point (x, y) is shown at
(a x + c y, b x + d y), where a, b are the first two of the first row and c, d those of the second.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, cast

from av import VideoFrame
from av.sidedata.sidedata import Type

from frameproto import Buffer

MATRIX: Final = struct.Struct("=9i")
SQUARE: Final = Fraction(1)
MAX_PIXEL_RATIO: Final = 10  # pixels that are longer than that are a mistake in the file; players differ on them


class Orientation(Enum):
    """The eight ways to lay a rectangle onto a screen, each as the FFmpeg filters that do it, separated by commas.

    Not as tuples: Python before 3.11.3 makes another value of a member that is an empty one.
    """

    UPRIGHT = ""
    MIRRORED = "hflip"
    FLIPPED = "vflip"
    UPSIDE_DOWN = "hflip,vflip"
    CLOCKWISE = "transpose=clock"
    COUNTERCLOCKWISE = "transpose=cclock"
    TRANSPOSED = "transpose=cclock_flip"
    TRANSVERSED = "transpose=clock_flip"

    @property
    def steps(self) -> tuple[str, ...]:
        """The filters, in order."""
        return tuple(step for step in self.value.split(",") if step)

    @property
    def sideways(self) -> bool:
        """Say whether width and height change places."""
        return any(step.startswith("transpose") for step in self.steps)


STRAIGHT: Final = {  # whether x is mirrored, whether y is
    (False, False): Orientation.UPRIGHT,
    (True, False): Orientation.MIRRORED,
    (False, True): Orientation.FLIPPED,
    (True, True): Orientation.UPSIDE_DOWN,
}
SIDEWAYS: Final = {  # whether b is negative, whether c is
    (False, False): Orientation.TRANSPOSED,
    (False, True): Orientation.CLOCKWISE,
    (True, False): Orientation.COUNTERCLOCKWISE,
    (True, True): Orientation.TRANSVERSED,
}


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the frames of one video are shown.

    Attributes:
        orientation: what is done to the stored picture.
        pixel_ratio: width of a pixel by its height.
    """

    orientation: Orientation = Orientation.UPRIGHT
    pixel_ratio: Fraction = SQUARE

    @classmethod
    def of(cls, frame: VideoFrame, pixel_ratio: Fraction | None = None) -> "Geometry":
        """Return how a frame is shown; `pixel_ratio` is what its track says, and None when that says nothing."""
        if not pixel_ratio or not Fraction(1, MAX_PIXEL_RATIO) <= pixel_ratio <= MAX_PIXEL_RATIO:
            pixel_ratio = SQUARE
        return cls(_orientation(frame), pixel_ratio)

    def square_size(self, frame: VideoFrame) -> tuple[int, int]:
        """Return the size of the stored picture in square pixels, before it is turned."""
        return max(1, round(frame.width * self.pixel_ratio)), frame.height

    def shown_size(self, frame: VideoFrame) -> tuple[int, int]:
        """Return width and height as a player shows them."""
        width, height = self.square_size(frame)
        return (height, width) if self.orientation.sideways else (width, height)


def _orientation(frame: VideoFrame) -> Orientation:
    side_data = cast("Mapping[Type, Buffer]", frame.side_data)  # the stubs call the mapping one of its values
    note = bytes(side_data.get(Type.DISPLAYMATRIX, b""))
    if len(note) < MATRIX.size:
        return Orientation.UPRIGHT
    a, b, _, c, d, *_ = MATRIX.unpack_from(note)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return SIDEWAYS[b < 0, c < 0]
    return STRAIGHT[a < 0, d < 0]  # a matrix of zeros, which some editors write, turns nothing
