"""Every kind of record comes back from its line as it was."""

import pytest

from loadtest.client_log import ReconnectStorm, SchedulingDelay, UnexpectedEvent
from loadtest.json_lines import as_line, read_lines
from loadtest.monitor import ProcessSample
from loadtest.recording import Fault
from tests.loadtest.recordings import denied, exchange, kept, pods, sample

RECORDS = [
    denied("anna", 1, 2),
    exchange("anna", 0),
    SchedulingDelay(at=1, seconds=2),
    ReconnectStorm(at=1),
    UnexpectedEvent(at=1, met="KeyError: 'x'"),
    kept(exchange("anna", 0)),
    sample(1),
    pods(1, chat={}),
    ProcessSample(at=1, cpu_seconds={"chat": 1.5}, memory_bytes={"chat": 2}),
    Fault(at=1, name="kill -9"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_from_its_line(record: object) -> None:
    assert list(read_lines([as_line(record)], *{type(one) for one in RECORDS})) == [record]


def test_a_line_that_was_cut_off_and_a_record_of_another_kind_are_passed_over() -> None:
    whole = as_line(RECORDS[0])
    assert list(read_lines([whole[:-5], as_line(RECORDS[1]), whole], type(RECORDS[0]))) == [RECORDS[0]]
