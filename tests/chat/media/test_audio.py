from collections.abc import Callable
from random import Random

import pytest

from chat_service.media.audio import encode_mp3, probe_audio
from chat_service.media.base import MediaError
from frameproto.media import identify
from tests.chat.media.making import RED, loudness, picture_of, silent_mp3, song_in_mp4, tone, video


@pytest.mark.parametrize("seconds", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_an_mp3_is_as_long_as_its_sound(seconds: float, sample_rate: int) -> None:
    assert probe_audio(silent_mp3(seconds, sample_rate), max_seconds=10).seconds == pytest.approx(seconds, abs=0.15)


def test_the_length_is_counted_and_not_read_from_the_header() -> None:
    whole = silent_mp3(10)
    assert probe_audio(whole[: len(whole) // 2], max_seconds=100).seconds < 6


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(lambda: b"", "not MP3", id="nothing"),
        pytest.param(lambda: b"I am not a voice note. " * 500, "not MP3", id="text"),
        pytest.param(lambda: picture_of(RED), "this file is PNG", id="PNG"),
        pytest.param(lambda: video(RED), "has a picture; send it as a video", id="MP4 with a picture"),
        pytest.param(lambda: video(RED, name="video.avi"), "this file is AVI", id="AVI"),
        pytest.param(lambda: bytes(50_000), "MP3", id="zeros"),
        pytest.param(lambda: b"\xff" * 50_000, "MP3", id="ones"),
        pytest.param(lambda: Random(1).randbytes(200_000), "MP3", id="random bytes"),
        pytest.param(lambda: silent_mp3(1) + Random(1).randbytes(200_000), "most of this MP3", id="hardly any sound"),
        pytest.param(lambda: b"ID3\x04\x00\x00\x00\x00\x00\x10" + bytes(16), "MP3", id="only a tag"),
        pytest.param(lambda: silent_mp3(1)[:60], "MP3", id="the beginning of a frame"),
        pytest.param(
            lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/hostname\n", "not MP3", id="a playlist"
        ),
        pytest.param(lambda: b"ffconcat version 1.0\nfile '/etc/hostname'\n", "not MP3", id="a concatenation"),
    ],
)
def test_what_is_no_voice_note_is_refused(make: Callable[[], bytes], why: str) -> None:
    with pytest.raises(MediaError, match=why) as refused:
        probe_audio(make(), max_seconds=10)
    assert refused.value.code == "media_unreadable"


OTHERS = {
    "M4A": ("sound.m4a", "aac"),
    "MP4": ("sound.mp4", "aac"),
    "AAC": ("sound.aac", "aac"),
    "Ogg": ("sound.ogg", "libopus"),
    "WAV": ("sound.wav", "pcm_s16le"),
    "FLAC": ("sound.flac", "flac"),
    "WebM": ("sound.webm", "libopus"),
}


@pytest.mark.parametrize("label", OTHERS)
def test_other_formats_are_heard_when_they_are_allowed(label: str) -> None:
    sound = tone(2, *OTHERS[label])
    found = identify(sound)
    assert found is not None
    assert found.label == label
    info = probe_audio(sound, max_seconds=3)
    assert info.seconds == pytest.approx(2, abs=0.15)
    assert info.whole
    assert not info.silent
    with pytest.raises(MediaError, match=f"this file is {label}, which is not accepted as a voice note; send MP3$"):
        probe_audio(sound, max_seconds=3, other_formats=False)


def test_silence_is_told() -> None:
    assert probe_audio(silent_mp3(1), max_seconds=3).silent
    assert probe_audio(tone(1, "sound.wav", "pcm_u8", level=0), max_seconds=3).silent
    assert not probe_audio(tone(1, "sound.mp3", "libmp3lame"), max_seconds=3).silent
    assert not probe_audio(tone(1, "sound.wav", "pcm_u8"), max_seconds=3).silent


def test_an_encrypted_song_is_refused_as_that() -> None:
    for name in (b"enca", b"drms"):
        with pytest.raises(MediaError, match="encrypted"):
            probe_audio(song_in_mp4().replace(b"mp4a", name), max_seconds=10)


def test_a_song_is_not_taken_for_an_encrypted_one_by_its_title() -> None:
    assert probe_audio(song_in_mp4("La casa encantada"), max_seconds=10).whole


def test_sound_goes_on_behind_a_damaged_part() -> None:
    whole = tone(4, "sound.mp3", "libmp3lame")
    for hole in (bytes(2000), Random(2).randbytes(2000), b"ID3" + bytes(900)):
        middle = len(whole) // 2
        info = probe_audio(whole[:middle] + hole + whole[middle + len(hole) :], max_seconds=5)
        assert 2.5 < info.seconds < 4
        assert not info.whole


def test_two_notes_joined_with_tags_between_them_are_heard_in_a_row() -> None:
    first, second = tone(1, "sound.mp3", "libmp3lame"), tone(2, "sound.mp3", "libmp3lame")
    joined = first + b"TAG" + bytes(125) + second
    assert probe_audio(joined, max_seconds=5).seconds == pytest.approx(3, abs=0.2)


def test_a_recording_that_was_cut_is_told_from_a_whole_one() -> None:
    for name, codec in (("sound.mp3", "libmp3lame"), ("sound.wav", "pcm_s16le"), ("sound.flac", "flac")):
        whole = tone(4, name, codec)
        assert probe_audio(whole, max_seconds=5).whole, name
        half = probe_audio(whole[: len(whole) // 2], max_seconds=5)
        assert not half.whole, name
        assert half.seconds == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("sound.mp4", "aac", {"movflags": "+faststart"}),
        ("sound.mp4", "aac", {"movflags": "+frag_keyframe+empty_moov", "frag_duration": "500000"}),
        ("sound.ogg", "libopus", {}),
        ("sound.webm", "libopus", {}),
        ("sound.webm", "libopus", {"live": "1"}),  # as browsers record: no length, no sizes
    ],
)
def test_a_recording_whose_upload_broke_off_is_heard_as_far_as_it_goes(
    name: str, codec: str, options: dict[str, str]
) -> None:
    whole = tone(4, name, codec, options=options)
    for behind in (b"", b"made by a phone\n", bytes(3000)):
        assert probe_audio(whole + behind, max_seconds=5).whole
    for share in (0.5, 0.97):
        info = probe_audio(whole[: int(len(whole) * share)], max_seconds=5)
        assert not info.whole
        assert share * 4 - 1.5 < info.seconds < 4


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("sound.mp4", "aac", {"movflags": "+frag_keyframe+empty_moov", "frag_duration": "500000"}),
        ("sound.webm", "libopus", {"live": "1", "cluster_time_limit": "500"}),
    ],
)
def test_a_hole_that_hides_the_rest_is_told(name: str, codec: str, options: dict[str, str]) -> None:
    whole = tone(4, name, codec, options=options)
    mark = {"mp4": b"moof", "webm": b"\x1f\x43\xb6\x75"}[name.partition(".")[2]]
    at = whole.index(mark, len(whole) // 2) - 8
    info = probe_audio(whole[:at] + bytes(100) + whole[at + 100 :], max_seconds=5)
    assert not info.whole
    assert info.seconds > 1


def test_a_webm_whose_sound_begins_later_is_whole() -> None:
    assert probe_audio(tone(4, "sound.webm", "libopus", begins=2), max_seconds=5).whole


@pytest.mark.parametrize("codec", ["libopencore_amrnb", "pcm_s16be", "pcm_f64le", "alac"])
def test_codecs_of_older_phones_and_cameras(codec: str) -> None:
    name = "sound.wav" if codec == "pcm_f64le" else "sound.mov"
    sound = tone(2, name, codec, rate=8_000 if "amr" in codec else 48_000)
    info = probe_audio(sound.replace(b"ftypqt  ", b"ftypisom"), max_seconds=3)
    assert info.seconds == pytest.approx(2, abs=0.15)


def test_a_codec_that_is_not_known_is_named() -> None:
    with pytest.raises(MediaError, match="the codec adpcm_ms of this WAV is not known here; convert it"):
        probe_audio(tone(1, "sound.wav", "adpcm_ms"), max_seconds=3)


def test_damage_near_the_beginning_of_an_mp3_does_not_hide_what_it_is() -> None:
    whole = tone(4, "sound.mp3", "libmp3lame")
    full_of_holes = b"".join(whole[at : at + 1400] + bytes(100) for at in range(0, len(whole), 1500))
    info = probe_audio(full_of_holes, max_seconds=5)
    assert info.seconds > 2
    assert not info.whole


def test_too_long_is_refused() -> None:
    probe_audio(silent_mp3(2), max_seconds=3)
    with pytest.raises(MediaError, match="3 seconds") as refused:
        probe_audio(silent_mp3(5), max_seconds=3)
    assert refused.value.code == "media_too_long"


def test_tags_do_not_matter_whatever_their_letters_are() -> None:
    old_tag = b"TAG" + "Grüße".encode("latin-1").ljust(125, b"\0")
    new_tag = b"ID3\x03\x00\x00\x00\x00\x00\x0eTIT2\x00\x00\x00\x04\x00\x00\x03\xff\xfe\x80"
    assert probe_audio(new_tag + silent_mp3(1) + old_tag, max_seconds=10).seconds == pytest.approx(1, abs=0.15)


def test_sound_survives_encoding() -> None:
    square = (b"\x00\x20" * 25 + b"\x00\xe0" * 25) * 441  # +8192 and -8192 of 32768: a root mean square of a quarter
    root_mean_square, seconds = loudness(encode_mp3(square, sample_rate=22_050))
    assert seconds == pytest.approx(1, abs=0.15)
    assert root_mean_square == pytest.approx(0.25, abs=0.05)


def test_the_same_sound_is_the_same_mp3() -> None:
    assert silent_mp3(1) == silent_mp3(1)
