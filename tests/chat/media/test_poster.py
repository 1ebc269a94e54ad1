import io

import av
import pytest

from chat_service.media.poster import choose_frame, displayed_size, make_poster
from tests.chat.media.making import (
    BLACK,
    BLUE,
    CLOCKWISE,
    COUNTERCLOCKWISE,
    GREEN,
    RED,
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
    assert displayed_size(frame) == size
    shown_size, shown = pixels(make_poster(frame))
    assert shown_size == poster
    assert shown["centre"] == pytest.approx((0, 0, 255), abs=12)


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        (UPRIGHT, (64, 48), "nw"),
        (CLOCKWISE, (48, 64), "ne"),
        (UPSIDE_DOWN, (64, 48), "se"),
        (COUNTERCLOCKWISE, (48, 64), "sw"),
    ],
)
def test_the_poster_is_upright(matrix: tuple[int, ...], size: tuple[int, int], corner: str) -> None:
    (frame,) = frames(turned(video(BLUE, corner=RED, seconds=0.1), matrix))
    assert displayed_size(frame) == size
    shown_size, shown = pixels(make_poster(frame))
    assert shown_size == size
    assert {name for name, rgb in shown.items() if rgb[0] > 200 and name != "centre"} == {corner}


def test_colours_of_high_definition_video() -> None:
    (frame,) = frames(video((63, 102, 240), seconds=0.1, size=(64, 48)))  # red in BT.709, as HD video has it
    frame.colorspace = 1
    assert pixels(make_poster(frame))[1]["centre"] == pytest.approx((255, 0, 0), abs=12)


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
    assert pixels(make_poster(chosen))[1]["centre"] == pytest.approx(expected, abs=12)


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
