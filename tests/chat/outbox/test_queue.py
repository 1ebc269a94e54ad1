"""The order of delivery: the front in memory, segments and files behind it, and what is deferred."""

from pathlib import Path

import pytest

from chat_service.outbox.queue import FRONT_BYTES, DeliveryQueue, PinnedRecord, SpooledRecord
from chat_service.outbox.records import Record, RecordName
from chat_service.outbox.segment_reader import Chunk
from chat_service.outbox.segments import Segment

SEGMENT = Path("log/000000000001.log")


def record(number: int, size_bytes: int = 10) -> Record:
    return Record(RecordName(number, 1000 + number), bytes(size_bytes))


def numbers(queue: DeliveryQueue, max_bytes: int = 1 << 30, max_records: int | None = None) -> list[int]:
    return [entry.name.number for entry in queue.head(max_bytes, max_records)]


def test_what_is_delivered_at_once_is_never_unread() -> None:
    queue, segment = DeliveryQueue(), Segment(SEGMENT)
    for number in (1, 2, 3):
        queue.add(record(number), segment, number * 10)
    assert (queue.depth, queue.oldest_ms, numbers(queue), segment.unread) == (3, 1001, [1, 2, 3], 0)
    queue.finish(RecordName(1, 1001))
    assert (queue.depth, queue.oldest_ms, numbers(queue)) == (2, 1002, [2, 3])


def test_a_batch_has_one_record_at_least_and_no_more_than_its_bytes_and_records() -> None:
    queue, segment = DeliveryQueue(), Segment(SEGMENT)
    for number in (1, 2, 3):
        queue.add(record(number), segment, number * 10)
    assert (numbers(queue, 1), numbers(queue, 20), numbers(queue, 29), numbers(queue, 99, 1)) == (
        [1],
        [1, 2],
        [1, 2],
        [1],
    )


def test_when_the_front_is_full_records_are_unread_until_a_chunk_of_them_is_taken() -> None:
    queue, segment = DeliveryQueue(), Segment(SEGMENT)
    queue.add(record(1, FRONT_BYTES), segment, FRONT_BYTES)
    queue.add(record(2), segment, FRONT_BYTES + 10)
    queue.add_spooled(SpooledRecord(RecordName(3, 1003), 5000))
    queue.add(record(4), segment, FRONT_BYTES + 20)
    assert (queue.depth, numbers(queue), queue.next_unread(), segment.unread) == (4, [1], None, 2)
    queue.finish(RecordName(1, 1001))
    assert queue.next_unread() is segment
    assert queue.take_chunk(segment, Chunk([record(2), record(4)], FRONT_BYTES + 20)) == 0
    assert (numbers(queue), segment.unread, queue.next_unread()) == ([2, 3, 4], 0, None)


def test_records_that_the_disk_has_lost_are_counted_once() -> None:
    queue, segment = DeliveryQueue(), Segment(SEGMENT)
    segment.size_bytes, segment.unread, segment.undelivered = 100, 5, 5
    queue.recover([], [segment])
    assert queue.depth == 5
    assert queue.take_chunk(segment, Chunk([record(1)], 20, damaged=1, damage=["a body"], is_broken=True)) == 4
    assert (queue.depth, segment.undelivered, segment.unread, segment.damage) == (1, 1, 0, ["a body"])


def test_what_an_earlier_process_has_left_comes_in_its_order_and_before_what_is_new() -> None:
    queue, old, new = DeliveryQueue(), Segment(SEGMENT), Segment(Path("log/000000000009.log"))
    old.size_bytes, old.unread, old.undelivered = 100, 2, 2
    queue.recover([SpooledRecord(RecordName(n, 1000 + n), 50) for n in (1, 3)], [old])
    queue.add(record(9), new, 10)
    assert (queue.depth, numbers(queue), queue.next_unread()) == (5, [], old)
    queue.take_chunk(old, Chunk([record(2), record(4)], 100))
    assert numbers(queue) == [1, 2, 3, 4]
    for number in (1, 2, 3, 4):
        queue.finish(RecordName(number, 1000 + number))
    assert queue.next_unread() is new


def test_a_deferred_record_is_no_longer_in_the_queue_and_is_still_counted() -> None:
    queue, segment = DeliveryQueue(), Segment(SEGMENT)
    queue.add(record(1), segment, 10)
    pinned = PinnedRecord(RecordName(1, 1001), segment, 0)
    queue.defer(pinned.name, pinned)
    assert (queue.depth, queue.has_next, queue.oldest_ms, dict(queue.deferred)) == (
        1,
        False,
        1001,
        {pinned.name: pinned},
    )
    assert queue.finish(pinned.name) is pinned
    assert (queue.depth, queue.oldest_ms) == (0, None)


def test_a_segment_that_cannot_be_read_stands_apart_until_it_can() -> None:
    queue, segment, again = DeliveryQueue(), Segment(SEGMENT), Segment(SEGMENT)
    segment.size_bytes, segment.unread, segment.undelivered = 100, 3, 3
    queue.recover([], [segment])
    queue.block(segment)
    assert (queue.has_next, queue.depth, list(queue.deferred)) == (False, 3, [segment.file])
    again.size_bytes, again.unread, again.undelivered = 100, 2, 2
    queue.unblock(segment, again)
    assert (queue.depth, queue.next_unread(), queue.deferred) == (2, again, {})


def test_a_record_that_is_not_there_cannot_be_finished() -> None:
    with pytest.raises(LookupError, match="is not in the queue"):
        DeliveryQueue().finish(RecordName(1, 1001))
