"""Names, headers and media of records."""

import errno
import zlib
from pathlib import Path

import pytest

from chat_service.outbox.records import (
    CHUNK_BYTES,
    HEADER_BYTES,
    Record,
    RecordName,
    checksum_of,
    pack_header,
    unpack_header,
)
from chat_service.outbox.segments import Segment

BODY = b"an encoded exchange"


@pytest.mark.parametrize("name", [RecordName(7, 1_780_000_000_000), RecordName(10**15, 3, 4096)])
def test_a_name_is_read_as_it_is_written(name: RecordName) -> None:
    assert RecordName.parse(str(name)) == name


def test_names_sort_in_the_order_of_their_records() -> None:
    names = [RecordName(number, 1000 - number) for number in (1, 2, 10, 11, 100)]
    assert sorted(map(str, names)) == list(map(str, sorted(names))) == list(map(str, names))


@pytest.mark.parametrize("name", ["", "7-1.record", "000000000007.record", "000000000007-1.record.tmp", "a" * 12])
def test_other_files_have_no_name_of_a_record(name: str) -> None:
    assert RecordName.parse(name) is None


def test_a_header_is_read_as_it_is_written_wherever_it_stands() -> None:
    name = RecordName(7, 1_780_000_000_000)
    header = unpack_header(b"before" + pack_header(name, BODY) + BODY, len(b"before"))
    assert header is not None
    assert (header.name, header.body_bytes, header.checksum) == (name, len(BODY), zlib.crc32(BODY))
    assert header.size_bytes == HEADER_BYTES + len(BODY)


@pytest.mark.parametrize("byte", range(HEADER_BYTES))
def test_a_header_with_a_damaged_byte_is_none(byte: int) -> None:
    packed = bytearray(pack_header(RecordName(7, 8), BODY))
    packed[byte] ^= 1
    assert unpack_header(packed, 0) is None


def test_the_checksum_of_parts_is_that_of_the_whole() -> None:
    assert checksum_of([b"an encoded ", b"", memoryview(b"exchange")]) == zlib.crc32(BODY).to_bytes(4)


def test_media_are_read_in_chunks_of_bounded_size(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1024
    file = tmp_path / "media"
    file.write_bytes(content + b"written by somebody else")
    record = Record(RecordName(7, 8, len(content)), BODY, file)
    chunks = list(record.read_media())
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert (record.size_bytes, list(Record(RecordName(7, 8), BODY).read_media())) == (len(BODY) + len(content), [])


def test_media_that_have_become_shorter_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "media"
    file.write_bytes(b"short")
    with pytest.raises(OSError, match="has become shorter") as failed:
        list(Record(RecordName(7, 8, 100), BODY, file).read_media())
    assert failed.value.errno == errno.EIO


def test_a_record_tells_the_file_that_it_stands_in(tmp_path: Path) -> None:
    name = RecordName(7, 8)
    segment = Segment(tmp_path / "log" / "000000000001.log")
    assert Record(name, BODY).file == f"waiting/{name}"
    assert Record(name, BODY, segment=segment).file == f"{segment.file}, record 7"
