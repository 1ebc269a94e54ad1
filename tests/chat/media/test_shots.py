"""Shots and contact sheets."""

import io

import av
import pytest

from chat_service.media.contact_sheet import choose_shots, clock
from chat_service.media.pcm import PcmRecording
from chat_service.media.video import probe_video
from tests.chat.media.making import BLUE, CLOCKWISE, GREEN, RED, edited, pixels, turned, video

MIXED = (RED, GREEN, BLUE, RED, GREEN, BLUE, RED, GREEN, BLUE, RED, GREEN, BLUE)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 12])
def test_shots_are_counted(count: int) -> None:
    assert probe_video(video(*MIXED[:count], seconds=count), max_seconds=60).shots == count


def test_one_shot_has_a_poster_and_several_a_contact_sheet() -> None:
    assert pixels(probe_video(video(RED, seconds=3), max_seconds=60).picture)[0] == (64, 48)
    (width, height), shown = pixels(probe_video(video(RED, GREEN, seconds=4, size=(320, 240)), max_seconds=60).picture)
    assert (width, height) == (3 * 8 + 2 * 320, 8 + 240 + 22 + 8)
    assert shown["nw"] == pytest.approx((255, 0, 0), abs=16)
    assert shown["ne"] == pytest.approx((0, 255, 0), abs=16)


@pytest.mark.parametrize(
    ("size", "matrix", "count"),
    [((320, 240), None, 9), ((1920, 1080), None, 9), ((640, 360), CLOCKWISE, 4), ((1080, 1920), None, 5)],
)
def test_a_sheet_has_the_aspect_of_its_video_and_is_not_too_large(
    size: tuple[int, int], matrix: tuple[int, ...] | None, count: int
) -> None:
    mp4 = video(*MIXED[:count], seconds=count, size=size, rate=4)
    info = probe_video(turned(mp4, matrix) if matrix else mp4, max_seconds=60)
    assert info.shots == count
    (width, height), _ = pixels(info.picture)
    assert max(width, height) <= 1280
    assert 1 / 2 < width / height < 2


def test_the_time_stands_under_each_frame() -> None:
    sheet = probe_video(video(RED, GREEN, seconds=4, size=(320, 240)), max_seconds=60).picture
    with av.open(io.BytesIO(sheet), "r") as file:
        frame = next(file.decode(video=0)).reformat(format="gray")
    line = frame.planes[0].line_size
    data = bytes(frame.planes[0])
    captions = [data[y * line + 8 : y * line + 100] for y in range(8 + 240, frame.height)]
    assert max(map(max, captions)) > 200, "nothing is written under the frame"
    assert min(map(min, captions)) < 60


def test_what_is_cut_away_has_no_shots() -> None:
    mp4 = edited(video(RED, GREEN, BLUE, RED, seconds=8), (2000, 20_480))  # 10,240 ticks a second
    assert probe_video(mp4, max_seconds=60).shots == 1


def test_nine_frames_are_spread_over_many_shots() -> None:
    middles = choose_shots([float(n) for n in range(100)], 100.0)
    assert (len(middles), middles[0], middles[-1]) == (9, 0.5, 99.5)
    assert choose_shots([0.0, 4.0], 10.0) == [2.0, 7.0]


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (7.9, "0:07"), (65, "1:05"), (3725, "1:02:05")])
def test_times_as_players_show_them(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_the_sound_is_there_however_many_shots() -> None:
    sound = PcmRecording()
    probe_video(video(RED, GREEN, seconds=2, speech=b"\0\x20" * 32_000), max_seconds=60, sound=sound)
    assert len(sound.pcm) / 32_000 == pytest.approx(2, abs=0.15)
    assert not sound.is_silent
