import pytest

from chat_service.media.torn import is_torn
from frameproto.media import FileFormat

EBML = b"\x1a\x45\xdf\xa3\x84webm"
CLUSTER = b"\x1f\x43\xb6\x75"
BLOCK = b"\xa3\x85\x81\0\0\x80\0"
SEGMENT = b"\x18\x53\x80\x67"
UNKNOWN = b"\x01" + b"\xff" * 7


def sized(name: bytes, content: bytes) -> bytes:
    return name + (len(content) | 1 << 28).to_bytes(4, "big") + content


CLUSTERS = sized(CLUSTER, b"\xe7\x81\0" + 3 * BLOCK)
LIVE = EBML + SEGMENT + UNKNOWN + 2 * (CLUSTER + UNKNOWN + b"\xe7\x81\0" + 3 * BLOCK)
WHOLE = EBML + sized(SEGMENT, 2 * CLUSTERS)


@pytest.mark.parametrize("webm", [WHOLE, LIVE, WHOLE + b"some text", LIVE + b"some text", LIVE + bytes(90), WHOLE * 2])
def test_a_whole_webm(webm: bytes) -> None:
    assert not is_torn(webm, FileFormat.WEBM)


def test_no_beginning_of_a_webm_with_sizes_is_whole() -> None:
    for end in range(len(EBML) + 8, len(WHOLE)):
        assert is_torn(WHOLE[:end], FileFormat.WEBM), end


def test_a_webm_without_sizes_is_torn_within_a_block() -> None:
    for missing in range(1, len(BLOCK) - 1):
        assert is_torn(LIVE[:-missing], FileFormat.WEBM), missing
    assert not is_torn(LIVE[: -len(BLOCK)], FileFormat.WEBM)


@pytest.mark.parametrize("webm", [WHOLE, LIVE])
def test_what_is_no_element_is_damage_when_more_comes(webm: bytes) -> None:
    at = webm.index(BLOCK)
    assert is_torn(webm[:at] + bytes(len(BLOCK)) + webm[at + len(BLOCK) :], FileFormat.WEBM)


def page(*sizes: int) -> bytes:
    return b"OggS" + bytes(22) + bytes([len(sizes), *sizes]) + bytes(sum(sizes))


def test_the_last_page_of_an_ogg_is_looked_at() -> None:
    ogg = page(19) + page(255, 40) + page(100)
    assert not is_torn(ogg, FileFormat.OGG)
    assert not is_torn(ogg + b"some text", FileFormat.OGG)
    for missing in range(1, len(page(100)) - 3):
        assert is_torn(ogg[:-missing], FileFormat.OGG), missing


def test_other_formats_are_not_looked_at() -> None:
    assert not is_torn(b"", FileFormat.MP3)
