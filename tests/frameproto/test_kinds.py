"""The table of kinds is whole, and what is derived from it agrees."""

import pytest

from chat_service.bot.script_file import OF_KIND
from chat_service.settings import ChatSettings
from frameproto import MediaPart, MessageKind, RequestKind, Response, ResponseKind
from frameproto.media import OTHER_FORMATS, OWN_FORMATS, FileFormat, format_of, media_type


@pytest.mark.parametrize("kind", RequestKind)
def test_a_request_is_answered_by_the_response_of_the_same_name(kind: RequestKind) -> None:
    assert RequestKind(int(kind)) is kind
    assert kind.answered_by.message_kind is kind.message_kind
    assert kind.answered_by is not ResponseKind.ERROR
    assert kind.description


def test_kinds_are_named_as_their_members_and_nothing_has_two_names() -> None:
    for kinds in (RequestKind, ResponseKind):
        assert [kind.message_kind.name for kind in kinds] == [kind.name for kind in kinds]
        assert [int(kind) for kind in kinds] == list(range(len(kinds)))
    assert {kind.message_kind for kind in ResponseKind} == set(MessageKind)
    parts = [kind.part for kind in RequestKind if kind.part is not None]
    assert len(parts) == len(set(parts))


@pytest.mark.parametrize("part", MediaPart)
def test_the_format_of_a_part_has_its_suffix_and_media_type(part: MediaPart) -> None:
    assert MediaPart(part.value) is part
    own = OWN_FORMATS[part]
    assert (own.suffix, media_type(own, part)) == (part.suffix, part.media_type)
    assert own not in OTHER_FORMATS[part]


@pytest.mark.parametrize(
    ("part", "file", "found"),
    [
        (MediaPart.VOICE, b"OggS", FileFormat.OGG),
        (MediaPart.VOICE, b"nothing known", FileFormat.MP3),
        (MediaPart.VIDEO, b"nothing known", FileFormat.MP4),
        (MediaPart.IMAGE, b"\x89PNG\r\n\x1a\n", FileFormat.JPEG),  # only the server sends one, always as a JPEG
    ],
)
def test_the_format_in_which_a_part_is_kept(part: MediaPart, file: bytes, found: FileFormat) -> None:
    assert format_of(file, part) is found


@pytest.mark.parametrize("kind", ResponseKind)
def test_the_media_of_a_response_are_those_of_its_kind(kind: ResponseKind) -> None:
    content = {part: part.encode() for part in kind.parts}
    text = "busy: later" if kind is ResponseKind.ERROR else "Hi"
    response = Response(kind, text, content.get(MediaPart.VOICE, b""), content.get(MediaPart.IMAGE, b""))
    assert response.media == content


@pytest.mark.parametrize("kind", RequestKind)
def test_what_a_new_kind_needs_beside_the_table(kind: RequestKind) -> None:
    assert kind in OF_KIND
    assert ChatSettings.model_construct().hours(kind).describe()
