"""Which media a client has already, and which range of bytes it asks for (RFC 9110, sections 13 and 14)."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import Headers

from history_service.api.conditions import ByteRange, http_date, is_known, is_same, parse_range
from servicekit.problems import Problem

ETAG = '"a-tag"'
MOMENT = datetime(2026, 6, 1, 9, 30, 15, 250_000, tzinfo=UTC)
DATE = "Mon, 01 Jun 2026 09:30:15 GMT"


def test_a_date_has_whole_seconds() -> None:
    assert http_date(MOMENT) == DATE


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({}, False),
        ({"if-none-match": ETAG}, True),
        ({"if-none-match": f'"other", W/{ETAG}'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"other"'}, False),
        ({"if-none-match": '"other"', "if-modified-since": DATE}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": http_date(MOMENT - timedelta(seconds=1))}, False),
        ({"if-modified-since": "Mon, 01 Jun 2026 09:30:15 -0000"}, False),
        ({"if-modified-since": "yesterday"}, False),
    ],
)
def test_a_client_has_the_version_that_it_names(headers: dict[str, str], known: bool) -> None:
    assert is_known(Headers(headers), etag=ETAG, modified_at=MOMENT) is known


@pytest.mark.parametrize(
    ("condition", "same"),
    [
        (None, True),
        (ETAG, True),
        (DATE, True),
        (f"W/{ETAG}", False),
        ('"other"', False),
        (http_date(MOMENT + timedelta(1)), False),
    ],
)
def test_a_range_continues_only_the_very_same_bytes(condition: str | None, same: bool) -> None:
    headers = Headers({} if condition is None else {"if-range": condition})
    assert is_same(headers, etag=ETAG, modified_at=MOMENT) is same


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-5", ByteRange(2, 6)),
        ("Bytes = 2 - 5", ByteRange(2, 6)),
        ("bytes=7-", ByteRange(7, 10)),
        ("bytes=7-99", ByteRange(7, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        (f"bytes=0-{'9' * 5000}", ByteRange(0, 10)),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ],
)
def test_a_range_is_cut_to_the_media_and_several_are_answered_in_full(header: str | None, expected: object) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_a_range_outside_the_media_is_refused_with_its_size(header: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_range(header, 10)
    assert (refused.value.status, refused.value.headers["Content-Range"]) == (416, "bytes */10")
