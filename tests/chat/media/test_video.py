import contextlib
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_service.media.base import MediaError
from chat_service.media.pcm import PcmRecording
from chat_service.media.video import probe_video
from tests.chat.media.making import (
    BLUE,
    CLOCKWISE,
    GREEN,
    RED,
    edited,
    pixels,
    silent_mp3,
    song_in_mp4,
    turned,
    video,
)

FRAGMENTED = "+frag_keyframe+empty_moov"


def test_what_is_seen() -> None:
    info = probe_video(video(RED, seconds=2, size=(320, 240)), max_seconds=10)
    assert info.seconds == pytest.approx(2, abs=0.1)
    assert (info.width, info.height) == (320, 240)
    assert not info.has_sound
    assert info.picture.startswith(b"\xff\xd8\xff")
    assert info.picture.endswith(b"\xff\xd9")


def test_the_poster_is_of_this_video() -> None:
    for colour, rgb in ((RED, (255, 0, 0)), (GREEN, (0, 255, 0)), (BLUE, (0, 0, 255))):
        size, shown = pixels(probe_video(video(colour, size=(160, 90)), max_seconds=10).picture)
        assert size == (160, 90)
        assert shown["centre"] == pytest.approx(rgb, abs=12)


@pytest.mark.parametrize("movflags", ["", "+faststart", FRAGMENTED])
def test_sound_is_noticed(movflags: str) -> None:
    assert probe_video(video(RED, sound=True, movflags=movflags), max_seconds=10).has_sound
    assert not probe_video(video(RED, movflags=movflags), max_seconds=10).has_sound


def test_the_poster_is_taken_after_the_first_third() -> None:
    greys = [(luma, 128, 128) for luma in (60, 80, 100, 100)]  # too little of a change for a cut
    for movflags in ("", FRAGMENTED):
        info = probe_video(video(*greys, seconds=4, movflags=movflags), max_seconds=10)
        assert info.shots == 1
        assert pixels(info.picture)[1]["centre"] == pytest.approx((75, 75, 75), abs=8)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libvpx-vp9", "libsvtav1", "libx265"])
def test_usual_codecs(codec: str, capfd: pytest.CaptureFixture[str]) -> None:
    info = probe_video(video(RED, codec=codec, size=(128, 96)), max_seconds=10)
    assert (info.width, info.height) == (128, 96)
    assert pixels(info.picture)[1]["centre"] == pytest.approx((255, 0, 0), abs=16)
    capfd.readouterr()  # what encoders have to say


def test_one_frame_is_a_video() -> None:
    assert probe_video(video(RED, seconds=0.1), max_seconds=10).seconds == pytest.approx(0.1, abs=0.01)


def test_a_phone_held_upright() -> None:
    info = probe_video(turned(video(RED, size=(64, 48)), CLOCKWISE), max_seconds=10)
    assert (info.width, info.height) == (48, 64)
    assert pixels(info.picture)[0] == (48, 64)


@pytest.mark.parametrize("rate", [10, 25])
@pytest.mark.parametrize(
    ("from_seconds", "to_seconds", "rgb"),
    [(0, 1.5, (255, 0, 0)), (2.2, 3.8, (0, 255, 0)), (4.4, 5.9, (0, 0, 255)), (3.5, 4, (0, 255, 0))],
)
def test_a_cut_is_what_its_edit_list_shows(
    rate: int, from_seconds: float, to_seconds: float, rgb: tuple[int, int, int]
) -> None:
    whole = video(RED, GREEN, BLUE, seconds=6, rate=rate)
    ticks_per_second = 12_800 if rate == 25 else 10_240  # as the muxer chooses
    cut = edited(whole, (round(1000 * (to_seconds - from_seconds)), round(from_seconds * ticks_per_second)))
    info = probe_video(cut, max_seconds=2)
    assert info.seconds == pytest.approx(to_seconds - from_seconds, abs=0.11)
    assert pixels(info.picture)[1]["centre"] == pytest.approx(rgb, abs=16)


def test_an_edit_list_that_shows_nothing() -> None:
    with pytest.raises(MediaError) as refused:
        probe_video(edited(video(RED, seconds=2), (1000, 900_000)), max_seconds=10)
    assert refused.value.code == "media_unreadable"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: b"", "not an MP4"),
        (lambda: silent_mp3(1), "this file is MP3"),
        (song_in_mp4, "no video track in this MP4; send it as a voice note"),
        (lambda: video(RED, name="video.mkv"), "this file is Matroska"),
        (lambda: video(RED, name="video.avi"), "this file is AVI"),
        (lambda: video(RED).replace(b"avc1", b"encv"), "encrypted"),
        (lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/hostname\n", "not an MP4"),
        (lambda: b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello", "not an MP4"),
        (lambda: video(RED, codec="mpeg2video", rate=25), "convert it"),
        (lambda: video(RED).replace(b"avc1", b"zzz9"), "convert it"),
        (lambda: video(RED, size=(4096, 2320), seconds=0.1, codec="mpeg4"), "MP4 are too large, or have no size; 4K"),
        (lambda: video(RED)[:-100], "cut short"),
        (lambda: video(RED, movflags="+faststart")[:-1], "cut short"),
    ],
)
def test_what_is_not_a_whole_mp4_is_refused(make: Callable[[], bytes], why: str) -> None:
    with pytest.raises(MediaError, match=why) as refused:
        probe_video(make(), max_seconds=10)
    assert refused.value.code == "media_unreadable"


@pytest.mark.parametrize(
    ("name", "codec", "label"),
    [
        ("video.mov", "libx264", "QuickTime movie"),
        ("video.webm", "libvpx-vp9", "WebM"),
        ("video.webm", "libvpx", "WebM"),
    ],
)
def test_other_formats_are_seen_when_they_are_allowed(name: str, codec: str, label: str) -> None:
    file = video(RED, GREEN, BLUE, BLUE, seconds=4, name=name, codec=codec)
    info = probe_video(file, max_seconds=5)
    assert info.seconds == pytest.approx(4, abs=0.1)
    assert (info.width, info.height) == (64, 48)
    assert info.shots == 3
    assert pixels(info.picture)[1]["nw"] == pytest.approx((255, 0, 0), abs=16)
    with pytest.raises(MediaError, match=f"this file is {label}, which is not accepted as a video; send MP4$"):
        probe_video(file, max_seconds=5, other_formats=False)


def test_a_webm_as_browsers_record_it_has_no_index_and_no_length() -> None:
    info = probe_video(
        video(RED, GREEN, BLUE, BLUE, seconds=4, name="video.webm", codec="libvpx", live="1"), max_seconds=5
    )
    assert info.seconds == pytest.approx(4, abs=0.15)
    assert info.shots == 3
    assert pixels(info.picture)[1]["nw"] == pytest.approx((255, 0, 0), abs=16)


def test_a_webm_that_was_cut() -> None:
    whole = video(RED, GREEN, BLUE, seconds=6, name="video.webm", codec="libvpx")
    with pytest.raises(MediaError, match="cut short"):
        probe_video(whole[: len(whole) // 2], max_seconds=10)


@pytest.mark.parametrize("missing", [1, 6])
def test_a_webm_from_a_browser_that_was_cut(missing: int) -> None:
    whole = video(RED, GREEN, BLUE, seconds=6, name="video.webm", codec="libvpx", live="1")
    with pytest.raises(MediaError, match="cut short"):
        probe_video(whole[:-missing], max_seconds=10)
    assert probe_video(whole + b"made by a phone", max_seconds=10).seconds == pytest.approx(6, abs=0.15)


def test_a_fragment_that_cannot_be_found_is_told() -> None:
    whole = video(RED, GREEN, BLUE, seconds=6, movflags=FRAGMENTED, frag_duration="1000000")
    at = whole.index(b"moof", whole.index(b"moof") + 4) - 4  # the second of six
    with pytest.raises(MediaError, match="is damaged"):
        probe_video(whole[:at] + bytes(40) + whole[at + 40 :], max_seconds=10)


def test_what_is_said_before_the_first_picture_is_heard() -> None:
    sound = PcmRecording()
    speech = b"\1\2" * 16_000 * 3
    mp4 = edited(video(RED, seconds=3, rate=25, speech=speech), (1000, -1), (2000, 0))
    assert probe_video(mp4, max_seconds=10, sound=sound).has_sound
    assert len(sound.pcm) == pytest.approx(len(speech), rel=0.05)


def probe_or_refuse(file: bytes) -> None:
    with contextlib.suppress(MediaError):
        probe_video(file, max_seconds=10)


def test_media_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.mp4"
    os.mkfifo(elsewhere)  # a look into it would never end
    name = str(elsewhere).encode() + b"\0"
    mp4 = video(GREEN)
    reference = struct.pack(">I4sI", 12, b"url ", 1)  # 1: the media is in this very file
    outward = struct.pack(">I4sI", 12 + len(name), b"url ", 0) + name
    at = mp4.index(reference)
    grown = bytearray(mp4[:at] + outward + mp4[at + len(reference) :])
    for kind in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        size_at = grown.index(kind) - 4
        struct.pack_into(">I", grown, size_at, struct.unpack_from(">I", grown, size_at)[0] + len(name))
    looking = threading.Thread(target=lambda: probe_or_refuse(bytes(grown)), daemon=True)
    looking.start()
    looking.join(30)
    assert not looking.is_alive(), "the file that it names was opened"


def test_a_file_whose_last_box_claims_to_be_whole_is_found_out() -> None:
    whole = video(RED, GREEN, BLUE, seconds=3, movflags="+faststart")
    at = whole.index(b"mdat") - 4
    to_the_end = whole[:at] + struct.pack(">I", 0) + whole[at + 4 :]
    probe_video(to_the_end, max_seconds=10)
    for missing in (1, 20, 200):
        with pytest.raises(MediaError, match=r"cut short") as refused:
            probe_video(to_the_end[:-missing], max_seconds=10)
        assert refused.value.code == "media_unreadable"


def test_frames_that_claim_another_size_than_the_header_are_not_decoded() -> None:
    huge = video(RED, size=(4096, 2320), seconds=0.1, codec="mpeg4")
    modest = huge.replace(struct.pack(">HH", 4096, 2320), struct.pack(">HH", 64, 48)).replace(
        struct.pack(">II", 4096 << 16, 2320 << 16), struct.pack(">II", 64 << 16, 48 << 16)
    )
    assert modest != huge
    with pytest.raises(MediaError) as refused:
        probe_video(modest, max_seconds=10)
    assert refused.value.code == "media_unreadable"


def test_garbage_where_the_frames_should_be() -> None:
    whole = video(RED, seconds=1, movflags="+faststart")
    at = whole.index(b"mdat") + 4
    with pytest.raises(MediaError) as refused:
        probe_video(whole[:at] + b"\xa5" * (len(whole) - at), max_seconds=10)
    assert refused.value.code == "media_unreadable"


@pytest.mark.parametrize("movflags", ["", FRAGMENTED])
def test_too_long_is_refused(movflags: str) -> None:
    with pytest.raises(MediaError, match=r"1\.5 seconds") as refused:
        probe_video(video(RED, seconds=2, movflags=movflags), max_seconds=1.5)
    assert refused.value.code == "media_too_long"


def test_a_length_that_lies_is_not_believed() -> None:
    mp4 = video(RED, seconds=5)
    at = mp4.index(b"mvhd") + 4 + 16  # version and flags, two times, the time scale: then the length
    lying = mp4[:at] + struct.pack(">I", 1) + mp4[at + 4 :]
    with pytest.raises(MediaError) as refused:
        probe_video(lying, max_seconds=2)
    assert refused.value.code == "media_too_long"
