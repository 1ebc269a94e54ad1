"""Files that are sent and saved: nothing is written over, and nothing half-written is left."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chat_client.errors import FileError
from chat_client.files import free_name, read_upload, save, whole_file

OVER_THE_DISK = bytes(100_000)  # more than full_disk lets a file have


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_upload_is_what_the_file_holds(tmp_path: Path) -> None:
    content = os.urandom(2_500_000)
    (tmp_path / "a.mp3").write_bytes(content)
    assert read_upload(tmp_path / "a.mp3", len(content)) == content
    assert read_upload(tmp_path / "a.mp3", 10**15) == content


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("none.mp3", "No such file", id="not there"),
        pytest.param("folder", "is a folder", id="folder"),
        pytest.param("empty.mp3", "is empty", id="empty"),
        pytest.param("large.mp3", "over 10 bytes", id="too large"),
        pytest.param("endless", "over 10 bytes", id="without end"),
        pytest.param("large.mp3/a", "Not a directory", id="below a file"),
        pytest.param("a" * 300, "File name too long", id="long name"),
        pytest.param("a\0b", "is not the name of a file", id="no name"),
        pytest.param("loop", "symbolic links", id="loop"),
    ],
)
def test_an_upload_that_cannot_be_is_told(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "large.mp3").write_bytes(bytes(11))
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError, match=why) as trouble:
        read_upload(tmp_path / name, 10)
    assert trouble.value.exit_code == 6


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    paths = [save(folder, "voice", ".mp3", content) for content in (b"1", b"2", b"3")]
    assert [path.name for path in paths] == ["voice.mp3", "voice-2.mp3", "voice-3.mp3"]
    assert [path.read_bytes() for path in paths] == [b"1", b"2", b"3"]
    assert names(folder) == {path.name for path in paths}


@pytest.mark.parametrize("taken", ["file", "folder", "dangling link"])
def test_whatever_has_a_name_keeps_it(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "voice.mp3"
    if taken == "file":
        path.write_bytes(b"mine")
    elif taken == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    assert free_name(tmp_path, "voice", ".mp3").name == "voice-2.mp3"
    with pytest.raises(FileError, match="is there already"), whole_file(path) as file:
        file.write(b"yours")
    assert names(tmp_path) == {"voice.mp3"}
    assert not path.is_file() or path.read_bytes() == b"mine"


def test_many_who_save_under_one_name_each_get_a_file(tmp_path: Path) -> None:
    contents = {str(number).encode() for number in range(64)}
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(lambda content: save(tmp_path, "voice", ".mp3", content), contents))
    assert {path.read_bytes() for path in paths} == contents
    assert set(tmp_path.iterdir()) == paths


def test_a_file_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert names(tmp_path) == {"video.mp4"}


def test_trouble_of_the_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "video.mp4") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert names(tmp_path) == set()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(FileError, match=r"video\.mp4 cannot be written: File too large"):
        save(tmp_path, "video", ".mp4", OVER_THE_DISK)
    with pytest.raises(FileError, match="cannot be written"), whole_file(tmp_path / "video.mp4") as file:
        for start in range(0, len(OVER_THE_DISK), 1000):  # small pieces, so that the last of them wait in a buffer
            file.write(OVER_THE_DISK[start : start + 1000])
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        pytest.param("file", "there is a file where its folder should be", id="file"),
        pytest.param("file/folder", "Not a directory", id="below a file"),
        pytest.param("a" * 300, "File name too long", id="long name"),
    ],
)
def test_a_folder_that_cannot_be_is_told(tmp_path: Path, folder: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileError, match=why):
        save(tmp_path / folder, "voice", ".mp3", b"voice")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    assert save(tmp_path, "a" * 251, ".mp3", b"voice").read_bytes() == b"voice"


def test_a_disk_without_hard_links_holds_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)  # as on FAT
    first, second = (save(tmp_path, "voice", ".mp3", content) for content in (b"1", b"2"))
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    with pytest.raises(FileError, match="is there already"), whole_file(first) as file:
        file.write(b"3")
    assert names(tmp_path) == {"voice.mp3", "voice-2.mp3"}
