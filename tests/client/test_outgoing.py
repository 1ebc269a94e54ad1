"""Messages without an answer, sans I/O: in any order of events each gets one outcome, and the wire stays in order."""

from collections import Counter
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chat_client.errors import ConnectionLost, MessageFailed, MessageInvalid, Unanswered, WrongAnswer
from chat_client.outgoing import Event, OutgoingFrame, OutgoingMessage, OutgoingMessages, Restarted, Version
from frameproto import Request, RequestKind, Response, ResponseKind, encode_response
from frameproto.v2 import (
    Cancel,
    ClientType,
    MessageRequest,
    MessageResponse,
    Piece,
    decode_client_frame,
    encode_server_frame,
    envelope,
)

LOST = ConnectionLost(1006)


class Heard:
    """A message, and what was told of it."""

    def __init__(self, text: str) -> None:
        self.told: list[Event | Exception] = []
        self.message = OutgoingMessage(Request(RequestKind.TEXT, text.encode()), self.told.append)

    @property
    def outcomes(self) -> list[Event | Exception]:
        return [each for each in self.told if isinstance(each, Response | Exception)]


def pending(*, window: int = 10, resend_on_v1: bool = False, version: Version = Version.V2) -> OutgoingMessages:
    messages = OutgoingMessages(window=window, resend_on_v1=resend_on_v1)
    messages.opened(version)
    return messages


def added(messages: OutgoingMessages, *texts: str) -> list[Heard]:
    heard = [Heard(text) for text in texts]
    for each in heard:
        messages.add(each.message)
    return heard


def sent(messages: OutgoingMessages) -> list[str]:
    """Return what is to be sent: texts, with a mark when they are sent again, and cancels."""
    words = []
    while (outgoing := messages.next_frame()) is not None:
        frame = decode_client_frame(outgoing.head + bytes(outgoing.body))
        match frame:
            case Cancel():
                words.append("cancel")
            case MessageRequest():
                words.append(frame.request.text + ("*" if frame.again else ""))
    return words


def reply_to(heard: Heard, text: str = "yes") -> bytes:
    return encode_server_frame(MessageResponse(heard.message.id, Response(ResponseKind.TEXT, text)))


def test_v1_has_no_envelope() -> None:
    messages = pending(version=Version.V1)
    added(messages, "one")
    assert messages.next_frame() == OutgoingFrame(b"\x00", b"one", next(iter(messages._messages.values())))


def test_what_was_not_sent_is_no_message_that_is_sent_again() -> None:
    messages = pending(window=2)
    one, two, three = added(messages, "one", "two", "three")
    assert sent(messages) == ["one", "two"]
    messages.receive(reply_to(two))  # in order or not, the id counts
    assert sent(messages) == ["three"]
    messages.lost(LOST)
    added(messages, "four")
    messages.opened(Version.V2)
    assert sent(messages) == ["one*", "three*"]
    messages.receive(reply_to(one))
    messages.receive(reply_to(three))
    assert sent(messages) == ["four"]
    assert [len(each.outcomes) for each in (one, two, three)] == [1, 1, 1]


def test_what_is_taken_back_before_it_was_sent_is_not_sent() -> None:
    messages = pending(window=1)
    one, two, three = added(messages, "one", "two", "three")
    assert sent(messages) == ["one"]
    messages.cancel(two.message)
    assert isinstance(two.told[0], MessageFailed)
    messages.receive(reply_to(one))
    assert sent(messages) == ["three"]
    messages.cancel(three.message)
    assert sent(messages) == ["cancel"]
    assert three.told == []


def test_what_is_taken_back_between_two_connections_is_asked_for_and_cancelled() -> None:
    messages = pending()
    one, two, _ = added(messages, "one", "two", "three")
    assert sent(messages) == ["one", "two", "three"]
    messages.lost(LOST)
    messages.cancel(one.message)
    messages.abandon(two.message)
    messages.opened(Version.V2)
    assert sent(messages) == ["one*", "cancel", "three*"]
    messages.receive(reply_to(one))
    assert [type(each) for each in one.told] == [Response]
    assert (two.told, len(messages)) == ([], 1)


def test_what_nobody_waits_for_is_not_sent_again() -> None:
    messages = pending()
    (one,) = added(messages, "one")
    assert sent(messages) == ["one"]
    messages.abandon(one.message)
    assert sent(messages) == ["cancel"]
    messages.lost(LOST)
    messages.opened(Version.V2)
    assert (sent(messages), len(messages), one.told) == ([], 0, [])


def test_pieces_are_told_and_void_after_a_break() -> None:
    messages = pending()
    one, two = added(messages, "one", "two")
    sent(messages)
    messages.receive(encode_server_frame(Piece(one.message.id, "y")))
    messages.lost(LOST)
    messages.opened(Version.V2)
    sent(messages)
    messages.lost(LOST)
    messages.opened(Version.V2)
    assert one.told == [Piece(one.message.id, "y"), Restarted(one.message.id)]
    assert two.told == []


def test_giving_up_says_which_messages_may_have_been_answered() -> None:
    messages = pending(window=1)
    one, two = added(messages, "one", "two")
    sent(messages)
    messages.lost(LOST)
    messages.fail_all(LOST)
    assert [each.told[0].maybe_answered for each in (one, two) if isinstance(each.told[0], Unanswered)] == [True, False]
    messages.opened(Version.V2)
    assert sent(messages) == []


def test_the_largest_message_on_the_wire_was_too_large() -> None:
    messages = pending(window=2)
    small, large, larger = added(messages, "a", "aa", "aaa")
    sent(messages)
    messages.lost(ConnectionLost(1009))
    messages.opened(Version.V2)
    assert sent(messages) == ["a*", "aaa"]
    assert isinstance(large.told[0], MessageInvalid)
    assert small.told == larger.told == []


def test_a_fault_of_the_caller_is_told_and_the_reply_dropped() -> None:
    messages = pending(version=Version.V1)
    one, two = added(messages, "one", "two")
    while messages.next_frame():
        pass
    fault = ZeroDivisionError()
    messages.fail(one.message, fault)
    messages.receive(encode_response(Response(ResponseKind.TEXT, "first")))
    messages.receive(encode_response(Response(ResponseKind.TEXT, "second")))
    messages.fail(two.message, fault)
    assert one.told == [fault]
    assert [each.text for each in two.told if isinstance(each, Response)] == ["second"]


class Conversation(RuleBasedStateMachine):
    """A server that answers in order what it has, a line that breaks, a caller that takes messages back."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = OutgoingMessages(window=3, resend_on_v1=False)
        self.all: list[Heard] = []
        self.abandoned: set[int] = set()
        self.wire: list[UUID] = []
        self.open = False
        self.answered: Counter[UUID] = Counter()

    @rule()
    def add(self) -> None:
        self.all += added(self.messages, f"text {len(self.all)}")

    @precondition(lambda self: not self.open)
    @rule()
    def connect(self) -> None:
        self.messages.opened(Version.V2)
        self.open, self.wire = True, []

    @precondition(lambda self: self.open)
    @rule(code=st.sampled_from([1006, 1011, 1012]))
    def lose(self, code: int) -> None:
        self.messages.lost(ConnectionLost(code))
        self.open = False

    @precondition(lambda self: self.open)
    @rule()
    def send(self) -> None:
        outgoing = self.messages.next_frame()
        if outgoing is None:
            assert len(self.wire) == 3 or not set(self.waiting()) - set(self.wire)
        elif outgoing.message is not None:
            assert outgoing.head == envelope(ClientType(outgoing.head[0]), outgoing.message.id) + b"\x00"
            assert outgoing.message.id not in self.wire
            self.wire.append(outgoing.message.id)

    @precondition(lambda self: self.open and self.wire)
    @rule(piece=st.booleans())
    def receive(self, *, piece: bool) -> None:
        message_id = self.wire[0]
        if piece:
            assert not self.messages.receive(encode_server_frame(Piece(message_id, "a")))
            return
        self.wire.pop(0)
        response = Response(ResponseKind.TEXT, str(message_id))
        assert self.messages.receive(encode_server_frame(MessageResponse(message_id, response)))
        self.answered[message_id] += 1

    @precondition(lambda self: self.all)
    @rule(data=st.data(), forget=st.booleans())
    def take_back(self, data: st.DataObject, *, forget: bool) -> None:
        number = data.draw(st.integers(0, len(self.all) - 1))
        if forget:
            self.abandoned.add(number)
            self.messages.abandon(self.all[number].message)
        else:
            self.messages.cancel(self.all[number].message)

    def waiting(self) -> list[UUID]:
        return [each.message.id for n, each in enumerate(self.all) if not each.outcomes and n not in self.abandoned]

    @invariant()
    def each_has_at_most_one_outcome_and_it_is_the_last(self) -> None:
        for each in self.all:
            assert len(each.outcomes) <= 1
            assert not each.outcomes or each.told[-1] is each.outcomes[0]
            for outcome in each.outcomes:
                assert not isinstance(outcome, Response) or outcome.text == str(each.message.id)

    @invariant()
    def none_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.answered.values())

    def teardown(self) -> None:
        if not self.open:
            self.connect()
        for _ in range(2 * len(self.all) + 2):
            while (outgoing := self.messages.next_frame()) is not None:
                if outgoing.message is not None:
                    self.wire.append(outgoing.message.id)
            while self.wire:
                self.receive(piece=False)
        assert self.waiting() == []
        assert len(self.messages) == 0
        with pytest.raises(WrongAnswer):
            self.messages.receive(encode_server_frame(Piece(UUID(int=1), "a")))


TestConversation = Conversation.TestCase
