import io
from fractions import Fraction

import av
import pytest

from chat_service.media.geometry import Geometry
from chat_service.media.poster import choose_frame, make_poster
from tests.chat.media.making import (
    ALL_ZERO,
    BLACK,
    BLUE,
    CLOCKWISE,
    COUNTERCLOCKWISE,
    FLIPPED,
    GREEN,
    MIRRORED,
    RED,
    TRANSPOSED,
    TRANSVERSED,
    UPRIGHT,
    UPSIDE_DOWN,
    Colour,
    pixels,
    turned,
    video,
)


def frames(mp4: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(mp4), "r") as file:
        return list(file.decode(video=0))


@pytest.mark.parametrize(
    ("size", "poster"),
    [
        ((64, 48), (64, 48)),
        ((1280, 720), (1280, 720)),
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((2560, 64), (1280, 32)),
        ((4000, 2), (1280, 2)),
    ],
)
def test_no_side_is_longer_than_1280_and_the_shape_stays(size: tuple[int, int], poster: tuple[int, int]) -> None:
    (frame,) = frames(video(BLUE, size=size, seconds=0.1))
    assert Geometry.of(frame).shown_size(frame) == size
    shown_size, shown = pixels(make_poster(frame, Geometry.of(frame)))
    assert shown_size == poster
    assert shown["centre"] == pytest.approx((0, 0, 255), abs=12)


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        (UPRIGHT, (64, 48), "nw"),
        (CLOCKWISE, (48, 64), "ne"),
        (UPSIDE_DOWN, (64, 48), "se"),
        (COUNTERCLOCKWISE, (48, 64), "sw"),
        (MIRRORED, (64, 48), "ne"),
        (FLIPPED, (64, 48), "sw"),
        (TRANSPOSED, (48, 64), "nw"),
        (TRANSVERSED, (48, 64), "se"),
        (ALL_ZERO, (64, 48), "nw"),
    ],
)
def test_the_poster_is_laid_as_the_matrix_says(matrix: tuple[int, ...], size: tuple[int, int], corner: str) -> None:
    (frame,) = frames(turned(video(BLUE, corner=RED, seconds=0.1), matrix))
    assert Geometry.of(frame).shown_size(frame) == size
    shown_size, shown = pixels(make_poster(frame, Geometry.of(frame)))
    assert shown_size == size
    assert {name for name, rgb in shown.items() if rgb[0] > 200 and name != "centre"} == {corner}


@pytest.mark.parametrize(
    ("stored", "ratio", "shown"),
    [
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((180, 144), Fraction(16, 15), (192, 144)),
        ((704, 480), Fraction(10, 11), (640, 480)),
        ((64, 48), None, (64, 48)),
        ((64, 48), Fraction(0), (64, 48)),
        ((64, 48), Fraction(1, 1000), (64, 48)),
        ((64, 48), Fraction(1000), (64, 48)),
    ],
)
def test_pixels_that_are_not_square(stored: tuple[int, int], ratio: Fraction | None, shown: tuple[int, int]) -> None:
    (frame,) = frames(video(BLUE, size=stored, seconds=0.1))
    geometry = Geometry.of(frame, ratio)
    assert geometry.shown_size(frame) == shown
    assert pixels(make_poster(frame, geometry))[0] == shown
    (sideways,) = frames(turned(video(BLUE, size=stored, seconds=0.1), CLOCKWISE))
    geometry = Geometry.of(sideways, ratio)
    assert geometry.shown_size(sideways) == shown[::-1]
    assert pixels(make_poster(sideways, geometry))[0] == shown[::-1]


def test_colours_of_high_definition_video() -> None:
    (frame,) = frames(video((63, 102, 240), seconds=0.1, size=(64, 48)))  # red in BT.709, as HD video has it
    frame.colorspace = 1
    assert pixels(make_poster(frame, Geometry.of(frame)))[1]["centre"] == pytest.approx((255, 0, 0), abs=12)


@pytest.mark.parametrize(
    ("colours", "at_seconds", "expected"),
    [
        ((RED, GREEN, BLUE), 0.0, (255, 0, 0)),
        ((RED, GREEN, BLUE), 1.0, (0, 255, 0)),
        ((RED, GREEN, BLUE), 2.95, (0, 0, 255)),  # after the last frame begins: that one
        ((BLACK, BLACK, GREEN), 0.0, (0, 255, 0)),
        ((BLACK, BLACK, BLACK), 1.0, (0, 0, 0)),
        ((GREEN, BLACK, BLACK), 1.0, (0, 0, 0)),  # what was before is not looked at
        ((BLACK, (25, 128, 128), BLACK), 0.0, (10, 10, 10)),  # all are dark: the lightest
    ],
)
def test_a_frame_from_that_time_on_that_is_not_dark(
    colours: tuple[Colour, ...], at_seconds: float, expected: tuple[int, int, int]
) -> None:
    chosen = choose_frame(frames(video(*colours, seconds=3)), at_seconds=at_seconds)
    assert chosen is not None
    assert pixels(make_poster(chosen, Geometry.of(chosen)))[1]["centre"] == pytest.approx(expected, abs=12)


def test_the_search_is_bounded() -> None:
    dark = frames(video(BLACK, seconds=0.1)) * 1000
    looked_at = iter(dark)
    assert choose_frame(looked_at, at_seconds=0) is not None
    assert sum(1 for _ in looked_at) > 900
    ahead = iter(dark)
    assert choose_frame(ahead, at_seconds=99) is not None
    assert sum(1 for _ in ahead) > 800


def test_no_frames() -> None:
    assert choose_frame([], at_seconds=0) is None
