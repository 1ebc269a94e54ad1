"""What docs/protocol.md shows decodes, and what it lists is all there is."""

import re
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from uuid import UUID

import pytest

from chat_service.message_handler import OutsideHours
from chat_service.outbox import OutboxError
from chat_service.settings import ChatSettings
from frameproto import (
    DEFAULT_MAX_FRAME_BYTES,
    MessageIdInvalid,
    RequestKind,
    ResponseKind,
    StatusUnknown,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from frameproto.connection import SUBPROTOCOL_V1, CloseCode
from frameproto.denials import DenialCode
from frameproto.exchange import MAX_BATCH_RECORDS, decode_exchange, encode_exchange
from frameproto.kinds import Outcome
from frameproto.v2 import (
    ClientType,
    Progress,
    ServerType,
    decode_client_frame,
    decode_server_frame,
    encode_client_frame,
    encode_server_frame,
)
from tests.frameproto.vectors import leaves

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "protocol.md").read_text("utf-8")
PAGE_V2 = (REPOSITORY / "docs" / "protocol-v2.md").read_text("utf-8")
AGAIN: dict[str, Callable[[bytes], bytes]] = {
    "request": lambda frame: encode_request(decode_request(frame)),
    "response": lambda frame: encode_response(decode_response(frame)),
    "client": lambda frame: encode_client_frame(decode_client_frame(frame)),
    "server": lambda frame: encode_server_frame(decode_server_frame(frame)),
    "exchange": lambda record: encode_exchange(decode_exchange(record)),
}
BYTES = re.compile(r"((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?")


def examples() -> list[tuple[str, bytes]]:
    """The blocks of bytes, each with what it is; behind two spaces a line explains itself."""
    found = []
    for what, block in re.findall(r"^```hex (\w+)\n(.*?)^```$", PAGE + PAGE_V2, re.MULTILINE | re.DOTALL):
        lines = [BYTES.fullmatch(line) for line in block.splitlines()]
        found.append((what, b"".join(bytes.fromhex(line[1]) for line in lines if line)))
        assert all(lines), block
    return found


def section(title: str, page: str = PAGE) -> str:
    """The text under a heading."""
    return re.split(r"^##+ ", page.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(title: str, page: str = PAGE) -> set[str]:
    """What the first cells of the rows under a heading name."""
    rows = re.findall(r"^\| ([^|]+) \|", section(title, page), re.MULTILINE)
    return {name.strip("` ") for row in rows for name in row.split(",")}


CHECKS, CHECKS_V2 = (
    dict(re.findall(r"^\| \d \| `(\w+)` \| ([^|]+) \|", section("Strictness", page), re.MULTILINE))
    for page in (PAGE, PAGE_V2)
)


@pytest.mark.parametrize(
    ("what", "shown"), examples(), ids=lambda part: part.hex()[:20] if isinstance(part, bytes) else part
)
def test_what_is_shown_decodes_and_is_encoded_alike(what: str, shown: bytes) -> None:
    assert AGAIN[what](shown) == shown


def test_both_frames_and_the_record_are_shown() -> None:
    shown = [what for what, _ in examples()]
    assert set(shown) == set(AGAIN)
    answers = [decode_response(frame) for what, frame in examples() if what == "response"]
    assert {answer.kind for answer in answers} == {ResponseKind.VIDEO, ResponseKind.ERROR}
    assert decode_request(next(frame for what, frame in examples() if what == "request")).text == "Hello"


def test_the_record_shown_is_the_one_explained() -> None:
    record = decode_exchange(next(shown for what, shown in examples() if what == "exchange"))
    assert record.id == UUID("0197b0c8-0000-7000-8000-000000000001")
    assert (record.client_id, record.time_zone, record.outcome) == ("anna", "Europe/Berlin", Outcome.ANSWERED)
    assert record.received_at.isoformat() == "2026-03-01T09:00:00+00:00"
    assert (record.answered_at - record.received_at).total_seconds() == 0.02


@pytest.mark.parametrize(("title", "kinds"), [("Request", RequestKind), ("Response", ResponseKind)])
def test_every_kind_is_listed(title: str, kinds: type[RequestKind] | type[ResponseKind]) -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \|", section(title), re.MULTILINE)
    assert rows == [(str(kind.value), kind.name.lower()) for kind in kinds]


@pytest.mark.parametrize(("title", "kinds"), [("Client frames", ClientType), ("Server frames", ServerType)])
def test_every_type_of_v2_is_listed(title: str, kinds: type[IntEnum]) -> None:
    table, _, statuses = section(title, PAGE_V2).partition("\n| status |")
    rows = re.findall(r"^\| (\d) \| (\w+) \|", table, re.MULTILINE)
    assert rows == [(str(kind.value), kind.name.lower()) for kind in kinds]
    shown = re.findall(r"^\| (\d) \| (\w+) \|", statuses, re.MULTILINE)
    assert shown == ([(str(each.value), each.name.lower()) for each in Progress] if kinds is ServerType else [])


def test_every_code_of_the_exception_tree_is_listed_and_no_other() -> None:
    assert CHECKS.keys() | CHECKS_V2.keys() == {leaf.code for leaf in leaves()}
    assert CHECKS_V2.keys() - CHECKS.keys() == {MessageIdInvalid.code, StatusUnknown.code}


def test_every_error_that_a_request_may_meet_is_listed() -> None:
    listed = first_cells("Error responses")
    assert {code for code, of_a_request in CHECKS.items() if re.search(r"\w", of_a_request)} <= listed
    full_or_broken: list[type[OutboxError]] = [OutboxError, *OutboxError.__subclasses__()]
    assert {error.code for error in full_or_broken} <= listed
    assert OutsideHours.code in listed


@pytest.mark.parametrize("door", ["_refuse", "Failure", "MediaError"])
def test_every_error_that_the_chat_service_names_is_listed(door: str) -> None:
    sources = [path.read_text("utf-8") for path in (REPOSITORY / "apps/chat/chat_service").rglob("*.py")]
    named = {code for source in sources for code in re.findall(rf'\b{door}\("(\w+)"', source)}
    assert named
    assert named <= first_cells("Error responses") | first_cells("Error responses", PAGE_V2)


def test_every_close_code_is_listed() -> None:
    assert {str(code.value) for code in CloseCode} == first_cells("Close codes") - {"code", "---"}


def test_every_denial_is_listed_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", section("When there is no connection"), re.MULTILINE)
    listed = [(int(status), code) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)]
    assert sorted(listed) == sorted((code.status, code.value) for code in DenialCode)


def test_names_and_limits_are_those_of_the_code() -> None:
    assert f"`{SUBPROTOCOL_V1}` names everything on this page" in PAGE
    assert f"({DEFAULT_MAX_FRAME_BYTES:,} bytes)" in section("Limits")
    assert f"({ChatSettings.model_fields['max_text_bytes'].default:,} bytes)" in section("Limits")
    assert f"at most {MAX_BATCH_RECORDS:,} records" in PAGE


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", PAGE + PAGE_V2)
    assert links
    assert all((REPOSITORY / "docs" / link).exists() for link in links)
