"""Keys of media: whose they are, and what is no key."""

from uuid import UUID

import pytest

from frameproto.connection import is_client_id
from history_service.media_keys import MARKER, MediaKey, by_client, client_folder, session_folder

SESSION, EXCHANGE = UUID(int=1), UUID(int=2)
KEY = MediaKey("anna", SESSION, EXCHANGE, "request.mp3")


def test_a_key_is_parsed_as_it_is_written_and_stands_in_its_folders() -> None:
    assert str(KEY) == f"anna/{SESSION}/{EXCHANGE}/request.mp3"
    assert MediaKey.parse(str(KEY)) == KEY
    for folder in (client_folder("anna"), session_folder("anna", SESSION), KEY.folder):
        assert str(KEY).startswith(folder)
        assert folder.endswith("/")


@pytest.mark.parametrize(
    "key",
    [
        "",
        MARKER,
        f"anna/{SESSION}/{EXCHANGE}",
        f"anna/{SESSION}/{EXCHANGE}/a/b",
        f"anna/{SESSION}/x/request.mp3",
        f"anna/{SESSION.hex}/{EXCHANGE}/request.mp3",
        f"anna/{{{SESSION}}}/{EXCHANGE}/request.mp3",
    ],
)
def test_other_names_are_no_keys(key: str) -> None:
    assert MediaKey.parse(key) is None


def test_no_client_can_own_the_marker() -> None:
    assert not is_client_id(MARKER.partition("/")[0])


def test_keys_are_grouped_by_client() -> None:
    other, of_ben = MediaKey("anna", SESSION, EXCHANGE, "reply.mp3"), MediaKey("ben", SESSION, EXCHANGE, "request.mp4")
    assert by_client([KEY, of_ben, other]) == {"anna": [KEY, other], "ben": [of_ben]}
