"""What the two versions of the protocol differ in, frame by frame."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from chat_service.dialect import V1, V2, Dialect, choose
from chat_service.pending import PendingMessage
from frameproto import FrameError, Request, RequestKind, encode_request
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from frameproto.v2 import NO_MESSAGE, Cancel, ClientType, MessageRequest, Progress, encode_client_frame, envelope

ID = UUID(int=7)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def framed(dialect: Dialect, request: Request) -> bytes:
    return encode_request(request) if dialect is V1 else encode_client_frame(MessageRequest(ID, request, again=False))


@pytest.mark.parametrize("dialect", [V1, V2])
def test_a_text_is_known_before_it_is_read_up_to_the_longest(dialect: Dialect) -> None:
    longest, longer = (framed(dialect, Request(RequestKind.TEXT, b"x" * size)) for size in (10, 11))
    assert dialect.is_text(longest, 10)
    assert not dialect.is_text(longer, 10)
    assert not dialect.is_text(framed(dialect, Request(RequestKind.VOICE, b"x")), 10)
    assert not dialect.is_text(b"", 10)


def test_a_cancel_names_a_message_and_nothing_else() -> None:
    cancel = encode_client_frame(Cancel(ID))
    assert V2.cancelled(cancel) == ID
    assert V1.cancelled(cancel) is None
    others = [
        cancel[:-1],
        cancel + b"x",
        envelope(ClientType.CANCEL, NO_MESSAGE),
        envelope(ClientType.REQUEST, ID),
        framed(V2, Request(RequestKind.TEXT, b"x")),
        b"",
    ]
    assert [V2.cancelled(frame) for frame in others] == [None] * len(others)


@pytest.mark.parametrize("again", [False, True])
def test_a_request_is_read_out_of_its_envelope(*, again: bool) -> None:
    request = Request(RequestKind.TEXT, b"hello")
    frame = encode_client_frame(MessageRequest(ID, request, again))
    message = PendingMessage(frame, NOW)
    V2.read(message, frame, 1000)
    assert message.frame is not None
    assert (message.message_id, message.is_again, bytes(message.frame)) == (ID, again, encode_request(request))
    assert message.request is not None
    assert (message.request.kind, message.request.text) == (RequestKind.TEXT, "hello")


def test_of_an_unreadable_request_the_id_is_read() -> None:
    frame = envelope(ClientType.REQUEST, ID) + b"\x09a"
    message = PendingMessage(frame, NOW)
    with pytest.raises(FrameError):
        V2.read(message, frame, 1000)
    assert message.message_id == ID


def test_what_leaves_is_in_an_envelope_over_v2_only() -> None:
    message = PendingMessage(b"", NOW)
    message.reply = b"reply"
    assert V1.response(message) == b"reply"
    assert V2.response(message)[-21:] == NO_MESSAGE.bytes + b"reply"
    message.message_id = ID
    assert V2.response(message)[-21:] == ID.bytes + b"reply"
    assert V2.piece(message, "é")[-18:] == ID.bytes + "é".encode()
    assert V2.status(message, Progress.THINKING)[-17:] == ID.bytes + bytes((Progress.THINKING,))
    assert (V1.tells, V2.tells) == (False, True)


@pytest.mark.parametrize(
    ("offered", "name", "dialect"),
    [
        ([SUBPROTOCOL_V1, SUBPROTOCOL_V2], SUBPROTOCOL_V2, V2),
        ([SUBPROTOCOL_V1, "other"], SUBPROTOCOL_V1, V1),
        (["other"], None, V1),
        ([], None, V1),
    ],
)
def test_the_latest_version_that_is_offered_is_spoken(offered: list[str], name: str | None, dialect: Dialect) -> None:
    assert choose(offered) == (name, dialect)
