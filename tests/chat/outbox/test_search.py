"""The answer to a message that is sent again is found in the outbox, as long as history does not have it."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from chat_service.outbox import Outbox
from frameproto.exchange import Exchange
from tests.chat.outbox.parts import BIG, append, drained, files
from tests.support.exchanges import exchange

MESSAGE = UUID("0197b0c8-0000-7000-8000-00000000000a")
LARGE = "x" * 200_000


def attempt(number: int, text: str = "hello", *, client_id: str = "anna", message_id: UUID = MESSAGE) -> Exchange:
    return exchange(text, client_id=client_id, message_id=message_id, attempt=number)


@pytest.mark.parametrize("text", ["hello", LARGE], ids=["in the log", "with files of its own"])
async def test_an_answer_is_found_until_it_is_delivered(tmp_path: Path, text: str) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await outbox.find("anna", MESSAGE) is None
    kept = attempt(3, text)
    await append(outbox, exchange("another"))
    await append(outbox, kept)
    assert await outbox.find("anna", MESSAGE) == kept
    assert await outbox.find("anna", uuid4()) is None
    assert await outbox.find("ben", MESSAGE) is None
    await drained(outbox)
    assert await outbox.find("anna", MESSAGE) is None
    await outbox.close()


@pytest.mark.parametrize("text", ["hello", LARGE], ids=["in the log", "with files of its own"])
async def test_an_answer_of_a_process_that_died_is_found(tmp_path: Path, text: str) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    kept = attempt(3, text)
    await append(outbox, kept)
    await outbox.close()
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await outbox.find("anna", MESSAGE) == kept
    assert await drained(outbox) == [text]
    await outbox.close()


async def test_of_several_answers_that_of_the_last_attempt_is_found(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=20 * 64 * 1024)  # many small segments
    last = attempt(7, "last")
    kept = [attempt(3), attempt(5, LARGE), last, attempt(4, "late"), attempt(9, client_id="ben")]
    for each in kept:
        await append(outbox, each)
        for _ in range(10):
            await append(outbox, exchange("x" * 10_000))
    assert len(files(tmp_path, "log")) > 1
    assert await outbox.find("anna", MESSAGE) == last
    await outbox.close()


async def test_an_id_within_a_text_is_no_answer(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    quoted = attempt(1, message_id=uuid4())._replace(request=b"\0" + MESSAGE.bytes)
    await append(outbox, quoted)
    assert await outbox.find("anna", MESSAGE) is None
    await outbox.close()


@pytest.mark.parametrize("left", [None, b"", b"damaged"])
@pytest.mark.parametrize("folder", ["media", "waiting"])
async def test_what_the_disk_has_lost_does_not_keep_the_rest_from_being_found(
    tmp_path: Path, folder: str, left: bytes | None
) -> None:
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    kept = attempt(3)
    await append(outbox, attempt(4, LARGE))
    await append(outbox, kept)
    (file,) = files(tmp_path, folder)
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    assert await outbox.find("anna", MESSAGE) == kept
    await outbox.close()


@pytest.mark.parametrize(("more", "is_found"), [(0, False), (1, True)])
async def test_only_the_newest_of_a_long_log_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, is_found: bool
) -> None:
    other = uuid4()
    kept = attempt(3), attempt(1, message_id=other)
    for each in kept:
        outbox = Outbox.open(tmp_path, max_bytes=BIG)
        await append(outbox, each)
        await outbox.close()
    old, new = files(tmp_path, "log")
    monkeypatch.setattr("chat_service.outbox.search.MOST_BYTES", new.stat().st_size + more)
    outbox = Outbox.open(tmp_path, max_bytes=BIG)
    assert await outbox.find("anna", MESSAGE) == (kept[0] if is_found else None)
    assert await outbox.find("anna", other) == kept[1]
    await outbox.close()
    assert old.exists()
