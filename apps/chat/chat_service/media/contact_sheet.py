"""Contact sheets: one frame of each shot, in rows, with the time at which it is shown under it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from av import VideoFrame

from chat_service.media.poster import LONG_SIDE, encode_jpeg, fit

if TYPE_CHECKING:
    from chat_service.media.geometry import Geometry

MAX_FRAMES: Final = 9
GAP: Final = 8  # pixels between frames and around them
DOT: Final = 2  # pixels of one dot of a digit
CAPTION: Final = 7 * DOT + GAP  # height of the line under a frame
BACKGROUND: Final = 24
INK: Final = 235
GREY: Final = 128  # no colour
DIGITS: Final = {  # five dots wide, seven high, one string for each row
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11111 00010 00100 00010 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 00100 00100 00000 00100 00100 00000",
}


@dataclass(frozen=True, slots=True)
class Still:
    """A frame and when it is shown, in seconds from the beginning of the video."""

    frame: VideoFrame
    at_seconds: float


def choose_shots(begins: Sequence[float], ended: float) -> list[float]:
    """Return the middle of each shot, or of nine that are spread evenly over the video."""
    middles = [(begin + end) / 2 for begin, end in zip(begins, [*begins[1:], ended], strict=True)]
    if len(middles) <= MAX_FRAMES:
        return middles
    return [middles[number * (len(middles) - 1) // (MAX_FRAMES - 1)] for number in range(MAX_FRAMES)]


def make_contact_sheet(stills: Sequence[Still], geometry: "Geometry") -> bytes:
    """Return the frames as one JPEG, each with the video's own aspect, about as wide as high altogether."""
    width, height = geometry.shown_size(stills[0].frame)
    columns = min(len(stills), math.ceil(math.sqrt(len(stills) * height / width)))
    rows = math.ceil(len(stills) / columns)
    most = min((LONG_SIDE - GAP) // columns - GAP, int(((LONG_SIDE - GAP) // rows - GAP - CAPTION) * width / height))
    longest = max(16, round(min(most, width) * max(1.0, height / width)))
    tiles = [fit(still.frame, geometry, longest) for still in stills]
    tile_width, tile_height = tiles[0].width, tiles[0].height
    sheet = _Sheet(GAP + columns * (tile_width + GAP), GAP + rows * (tile_height + CAPTION + GAP))
    for number, (still, tile) in enumerate(zip(stills, tiles, strict=True)):
        row, column = divmod(number, columns)
        x, y = GAP + column * (tile_width + GAP), GAP + row * (tile_height + CAPTION + GAP)
        if (tile.width, tile.height) == (tile_width, tile_height):  # a video may change its size in the middle
            sheet.paste(tile, x, y)
        sheet.write(clock(still.at_seconds), x, y + tile_height + GAP // 2)
    return encode_jpeg(sheet.frame())


def clock(seconds: float) -> str:
    """Return e.g. `0:07` or `1:02:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Sheet:
    """A picture that is put together, in the form that a JPEG takes (yuvj420p): all sizes and places are even."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._planes = [
            (bytearray([BACKGROUND]) * (width * height), width, 1),
            (bytearray([GREY]) * (width // 2 * (height // 2)), width // 2, 2),
            (bytearray([GREY]) * (width // 2 * (height // 2)), width // 2, 2),
        ]

    def paste(self, tile: VideoFrame, x: int, y: int) -> None:
        for plane, (canvas, stride, shrunk) in zip(tile.planes, self._planes, strict=True):
            data, line = bytes(plane), plane.line_size
            for row in range(tile.height // shrunk):
                at = (y // shrunk + row) * stride + x // shrunk
                canvas[at : at + tile.width // shrunk] = data[row * line : row * line + tile.width // shrunk]

    def write(self, digits: str, x: int, y: int) -> None:
        canvas, stride, _ = self._planes[0]
        for number, digit in enumerate(digits):
            for row, dots in enumerate(DIGITS[digit].split()):
                for column, dot in enumerate(dots):
                    left = x + (number * 6 + column) * DOT
                    if dot == "1" and left + DOT <= self._size[0]:
                        for line in range(y + row * DOT, y + row * DOT + DOT):
                            canvas[line * stride + left : line * stride + left + DOT] = bytes([INK]) * DOT

    def frame(self) -> VideoFrame:
        frame = VideoFrame(*self._size, "yuvj420p")
        for plane, (canvas, stride, shrunk) in zip(frame.planes, self._planes, strict=True):
            rows = self._size[1] // shrunk
            padding = bytes(plane.line_size - stride)
            plane.update(b"".join(canvas[row * stride : (row + 1) * stride] + padding for row in range(rows)))
        return frame
