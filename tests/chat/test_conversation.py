"""The machine of a conversation against a model, under arbitrary interleavings of what happens around it.

Nothing runs here: the effects write down what was asked for, and hypothesis decides what happens next. Some effects are
complete before their call returns, as for a text that is answered at once.
"""

import itertools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_service.conversation import ConnectionState, Conversation, error_frame
from chat_service.dialect import V1, V2, Dialect
from chat_service.pending import AT_WORK, NEXT, UNANSWERED, Event, IllegalEvent, PendingMessage, Stage
from frameproto import Response, ResponseKind, decode_response, encode_response
from frameproto.connection import CloseCode
from frameproto.v2 import (
    NO_MESSAGE,
    ClientType,
    MessageResponse,
    Piece,
    Progress,
    ServerType,
    Status,
    decode_server_frame,
    envelope,
    payload,
)
from tests.chat.conversation_parts import limits

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WINDOW = 3
MAX_BYTES = 110
POD_BYTES = 120
BYTES_OF_OTHERS = 70
MAX_SAID = 100
MAX_SENT = 200
JUST_REPLIED = 3
FIRST_SECONDS, IDLE_SECONDS, SEND_SECONDS = 60, 600, 30


@dataclass
class World:
    """All around one machine, and a record of what it asked for."""

    at_once: frozenset[str]
    dialect: Dialect = V2
    now: float = 0.0
    paused: bool = False
    receiving: bool = False
    writable: bool = True
    stuck: bool = False
    others: int = 0
    pod_used: int = 0
    charged: dict[int, int] = field(default_factory=dict)
    waiting_for_bytes: list[PendingMessage] = field(default_factory=list)
    asked: list[PendingMessage] = field(default_factory=list)
    permits: set[int] = field(default_factory=set)
    preparing: list[PendingMessage] = field(default_factory=list)
    replying: list[PendingMessage] = field(default_factory=list)
    rendering: list[PendingMessage] = field(default_factory=list)
    keeping: list[PendingMessage] = field(default_factory=list)
    abandoned: list[PendingMessage] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    said: dict[int, str] = field(default_factory=dict)
    cancels: set[int] = field(default_factory=set)
    taken: list[PendingMessage] = field(default_factory=list)
    close_code: int | None = None
    closed_times: int = 0
    finished_times: int = 0
    refused_codes: list[str] = field(default_factory=list)
    wakes_at: float | None = None
    read: list[PendingMessage] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        changed = limits(
            window=WINDOW,
            max_bytes=MAX_BYTES,
            max_frame_bytes=70,
            max_text_bytes=30,
            max_unreadable=2,
            first_message_seconds=FIRST_SECONDS,
            idle_seconds=IDLE_SECONDS,
            send_seconds=SEND_SECONDS,
        )
        self.machine = Conversation(self, self, self.dialect, changed, lambda: self.now)
        self.machine.start()

    @property
    def held(self) -> list[PendingMessage]:
        """What has a slot of the window."""
        return [message for message in self.read if message.stage not in {Stage.IN_HAND, Stage.DONE}]

    def number(self, message: PendingMessage) -> int:
        return self.numbers[id(message)]

    # Effects and work.

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def is_receiving(self) -> bool:
        return self.receiving

    def charge(self, message: PendingMessage, size_bytes: int) -> bool:
        own = sum(other.size_bytes for other in self.held if other is not message)
        assert not own or own + size_bytes <= MAX_BYTES, "the bytes of a connection are bounded"
        if self.pod_used and self.pod_used + self.others + size_bytes > POD_BYTES:
            self.waiting_for_bytes.append(message)
            return False
        self._charge(message, size_bytes)
        return True

    def _charge(self, message: PendingMessage, size_bytes: int) -> None:
        self.pod_used += size_bytes
        self.charged[self.number(message)] = size_bytes

    def recharge(self, message: PendingMessage, size_bytes: int) -> None:
        number = self.number(message)
        self.pod_used += size_bytes - self.charged[number]
        self.charged[number] = size_bytes

    def refused(self, code: str) -> None:
        self.refused_codes.append(code)

    def admit(self, message: PendingMessage) -> None:
        self.asked.append(message)
        if "admit" in self.at_once:
            self.grant(message)

    def grant(self, message: PendingMessage) -> None:
        self.asked.remove(message)
        self.permits.add(self.number(message))
        self.machine.admitted(message)

    def prepare(self, message: PendingMessage) -> None:
        assert self.number(message) in self.permits
        self.preparing.append(message)
        if "prepare" in self.at_once:
            self.preparing.remove(message)
            self.machine.prepared(message)

    def take_turn(self, message: PendingMessage) -> None:
        assert not self.replying, "turns of the bot do not overlap"
        self.turns.append(self.number(message))
        self.replying.append(message)
        if "reply" in self.at_once:
            self.answer(message)

    def answer(self, message: PendingMessage) -> None:
        for place in (self.replying, self.rendering, self.preparing, self.asked):
            if message in place:
                place.remove(message)
        self.machine.answered(message, reply_to(self.number(message)), keep=True)

    def cancelled(self, message: PendingMessage) -> None:
        assert self.machine.state is not ConnectionState.CLOSED
        assert message.is_cancelled
        assert all(message not in place for place in (self.asked, self.preparing, self.replying, self.rendering))
        self.cancels.add(self.number(message))
        self.machine.answered(message, error_frame("cancelled", "why"), keep=bool(message.shown))

    def keep(self, message: PendingMessage) -> None:
        assert self.machine.state is not ConnectionState.CLOSED
        self.keeping.append(message)
        self.kept.append(self.number(message))
        if "keep" in self.at_once:
            self.keeping.remove(message)
            self.machine.kept(message)

    def release_permit(self, message: PendingMessage) -> None:
        self.permits.discard(self.number(message))

    def forget(self, message: PendingMessage) -> None:
        number = self.number(message)
        self.permits.discard(number)
        self.pod_used -= self.charged.pop(number, 0)
        if message in self.waiting_for_bytes:
            self.waiting_for_bytes.remove(message)

    def abandon(self, message: PendingMessage) -> None:
        assert message not in self.abandoned
        if message in self.asked:
            self.asked.remove(message)
            self.machine.abandoned(message)
        else:
            self.abandoned.append(message)

    def send(self, frame: bytes) -> bool:
        assert self.machine.state is not ConnectionState.CLOSED, "nothing is sent after the close"
        assert len(frame) <= MAX_SENT, "what a peer did not read is joined, and bounded"
        assert not self.stuck, "nothing is sent to a peer that has not caught up"
        self.sent.append(frame)
        self.stuck = not self.writable
        return self.writable

    def close(self, code: CloseCode, reason: str) -> None:
        assert self.close_code is None
        assert reason
        self.close_code = int(code)

    def closed(self) -> None:
        self.closed_times += 1

    def finished(self) -> None:
        self.finished_times += 1

    def wake_at(self, when: float) -> None:
        assert self.wakes_at is None or when < self.wakes_at
        self.wakes_at = when


def reply_to(number: int) -> bytes:
    return encode_response(Response(ResponseKind.TEXT, f"reply {number}"))


def id_of(number: int) -> UUID:
    return UUID(int=1000 + number)


Step = tuple[str, int]
AT_ONCE = st.frozensets(st.sampled_from(["admit", "prepare", "reply", "keep"]))


class Driver:
    """Has one thing after the other happen, as far as it can, and checks after each what always holds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = world.machine
        self.read = world.read
        self.unkept: set[int] = set()
        self.busy: set[int] = set()
        self.order: list[int] = []

    def step(self, what: str, pick: int) -> None:
        ACTIONS[what](self, pick)
        self._abandoned_work_ends(pick)
        self.check()

    def text(self, pick: int) -> None:
        self._receive(self._request(b"\x00" + b"x" * (1 + 7 * (pick % 4))))

    def _request(self, request: bytes, number: int | None = None) -> bytes:
        """The frame of a request: the next one of this client, or with the id of an earlier one."""
        if self.world.dialect is V1:
            return request
        return envelope(ClientType.REQUEST, id_of(len(self.read) if number is None else number)) + request

    def same_id(self, pick: int) -> None:
        """Send a message with an id that is under way, or was."""
        if self.read:
            self._receive(self._request(b"\x00again", max(0, len(self.read) - 1 - pick)))

    def cancel(self, pick: int) -> None:
        """Cancel a message in any stage, or one that there is not; the frame takes no slot."""
        world = self.world
        if world.dialect is V1 or world.paused or self.machine.state is not ConnectionState.OPEN:
            return
        held, ids = world.held, [message.message_id for message in world.held]
        stages = [message.stage for message in held]
        number = len(self.read) - pick
        self.machine.received(PendingMessage(envelope(ClientType.CANCEL, id_of(number)), NOW))
        assert not world.paused, "a cancel is read while the window is full"
        assert ids.count(id_of(number)) > 0 or stages == [message.stage for message in held], "it is passed over"

    def catch_up(self) -> None:
        if not self.world.writable:
            self.world.writable, self.world.stuck = True, False
            self.machine.caught_up()

    def _receive(self, frame: bytes | None) -> None:
        if self.world.paused or self.machine.state is ConnectionState.CLOSED:
            return
        message = PendingMessage(frame, NOW)
        self.world.numbers[id(message)] = len(self.read)
        self.read.append(message)
        self.machine.received(message)

    def _alive(self, messages: list[PendingMessage]) -> list[PendingMessage]:
        return [message for message in messages if message not in self.world.abandoned]

    def _with(self, messages: list[PendingMessage], pick: int, act: Any) -> None:
        if messages:
            act(messages[pick % len(messages)])

    def _grant_bytes(self) -> None:
        world = self.world
        if world.waiting_for_bytes:
            message = world.waiting_for_bytes.pop(0)
            world._charge(message, message.size_bytes)
            self.machine.charged(message)

    def _prepared(self, message: PendingMessage) -> None:
        self.world.preparing.remove(message)
        self.machine.prepared(message)

    def _refuse(self, message: PendingMessage) -> None:
        for place in (self.world.asked, self.world.preparing):
            if message in place:
                place.remove(message)
        self.machine.answered(message, error_frame("busy", f"{self.world.number(message)}"), keep=False)

    def _piece(self, message: PendingMessage) -> None:
        number = self.world.number(message)
        if self.world.dialect is V2 and len(self.world.said.get(number, "")) < MAX_SAID:
            text = f"{len(self.world.said.get(number, '')):03}."
            self.world.said[number] = self.world.said.get(number, "") + text
            self.machine.piece(message, text)

    def _status(self, message: PendingMessage) -> None:
        if self.world.dialect is V2:
            self.machine.status(message, Progress.THINKING)

    def _spoken(self, message: PendingMessage) -> None:
        self.world.replying.remove(message)
        self.world.rendering.append(message)
        self.machine.spoken(message)

    def _kept(self, message: PendingMessage) -> None:
        self.world.keeping.remove(message)
        self.machine.kept(message)

    def _not_kept(self, message: PendingMessage) -> None:
        self.world.keeping.remove(message)
        self.machine.kept(message, error_frame("storage_full", f"{self.world.number(message)}"))

    def _wait(self, seconds: float) -> None:
        world = self.world
        end = world.now + seconds
        while world.wakes_at is not None and world.wakes_at <= end and self.machine.state is not ConnectionState.CLOSED:
            world.now, world.wakes_at = world.wakes_at, None
            self.machine.wake()
        world.now = end

    def _abandoned_work_ends(self, pick: int) -> None:
        """Of work that was told to stop, some ends now: without a reply, or with the one that it just had."""
        world = self.world
        if world.abandoned and pick % 2:
            message = world.abandoned.pop(0)
            if pick == JUST_REPLIED and message in world.replying:
                world.answer(message)
                return
            for place in (world.preparing, world.replying, world.rendering, world.keeping):
                if message in place:
                    place.remove(message)
            self.machine.abandoned(message)

    def check(self) -> None:
        world, machine = self.world, self.machine
        held = world.held
        assert machine.unfinished == len(held) <= WINDOW
        assert world.permits <= {world.number(message) for message in held}
        assert world.charged.keys() <= {world.number(message) for message in held}
        assert world.pod_used == sum(world.charged.values())
        assert world.turns == sorted(world.turns), "the bot's turns follow the order of the messages"
        assert world.kept == sorted(set(world.kept)), "exchanges are kept in order, and once"
        for message in held:
            if message.stage in {Stage.KEPT, Stage.SENDING}:
                assert world.number(message) not in world.permits, "a slow reader holds no permit"
                assert world.charged[world.number(message)] == len(message.reply)
                assert message.frame is None, "a reply that waits for its reader holds no request"
        self._check_replies()
        if machine.state is ConnectionState.CLOSED:
            assert world.closed_times == 1
            assert (world.close_code is None) is (machine.end is not None and machine.end.by_peer)
            assert all(message.stage in AT_WORK for message in held), "only work that has not ended is left"
            assert world.finished_times == (not held)
        else:
            assert world.closed_times == world.finished_times == 0
            waiting = [message for message in self.read if message.stage in {Stage.IN_HAND, Stage.CHARGING}]
            assert len(waiting) <= 1, "one frame is in hand at most"
            if machine.state is ConnectionState.OPEN:
                reads = not waiting and not any(message.is_last for message in self.read)
                assert world.paused is not reads, "it reads unless something waits to be taken"
            if machine.state is ConnectionState.DRAINING:
                assert held, "a drain that has nothing to wait for ends"
            if not held:
                assert world.wakes_at is not None, "silence is watched"

    def _check_replies(self) -> None:
        """Replies leave in the order of the messages, each after its exchange was kept."""
        expected = [message for message in self.read if message.stage is not Stage.IN_HAND and message.reply]
        sent = self._check_pieces() if self.world.dialect is V2 else [(NO_MESSAGE, frame) for frame in self.world.sent]
        for (message_id, frame), message in zip(sent, expected[: len(sent)], strict=True):
            assert (message_id, frame) == (message.message_id or NO_MESSAGE, message.reply)
            assert message not in self.world.keeping

    def _check_pieces(self) -> list[tuple[UUID, bytes]]:
        """What was said leaves in order, from its beginning, before the reply; return the replies."""
        replies: list[tuple[UUID, bytes]] = []
        shown: dict[UUID, str] = {}
        for frame in self.world.sent:
            match decode_server_frame(frame):
                case MessageResponse(message_id):
                    replies.append((message_id, bytes(payload(frame))))
                case Piece(message_id, text):
                    shown[message_id] = shown.get(message_id, "") + text
                    of_this = [message for message in self.read if message.message_id == message_id]
                    assert len(replies) <= max(self.read.index(message) for message in of_this)
                case Status():
                    pass
        for number, said in self.world.said.items():
            assert said.startswith(shown.pop(self.read[number].message_id or NO_MESSAGE, ""))
        assert not shown
        return replies

    def settle(self) -> None:
        """Let all that is under way end; then nothing may be left."""
        world = self.world
        for _ in range(1000):
            if world.waiting_for_bytes:
                self._grant_bytes()
            elif world.asked:
                world.grant(world.asked[0])
            elif self._alive(world.preparing):
                self._prepared(self._alive(world.preparing)[0])
            elif self._alive([*world.replying, *world.rendering]):
                world.answer(self._alive([*world.replying, *world.rendering])[0])
            elif world.keeping:
                self._kept(world.keeping[0])
            elif not world.writable:
                self.catch_up()
            elif world.abandoned:
                self._abandoned_work_ends(1)
            else:
                break
            self.check()
        else:
            pytest.fail("it does not come to rest")


ACTIONS: dict[str, Callable[[Driver, int], None]] = {
    "text": Driver.text,
    "another text": Driver.text,
    "one more text": Driver.text,
    "same id": Driver.same_id,
    "cancel": Driver.cancel,
    "cancel another": Driver.cancel,
    "status": lambda driver, pick: driver._with(
        [message for message in driver.world.held if message.stage in UNANSWERED], pick, driver._status
    ),
    "too long": lambda driver, _: driver._receive(driver._request(b"\x00" + b"x" * 31)),
    "garbage": lambda driver, _: driver._receive(b"\x07"),
    "not binary": lambda driver, _: driver._receive(None),
    "bytes": lambda driver, _: driver._grant_bytes(),
    "grant": lambda driver, pick: driver._with(driver.world.asked, pick, driver.world.grant),
    "busy": lambda driver, pick: driver._with(driver.world.asked, pick, driver._refuse),
    "prepared": lambda driver, pick: driver._with(driver._alive(driver.world.preparing), pick, driver._prepared),
    "prepare fails": lambda driver, pick: driver._with(driver._alive(driver.world.preparing), pick, driver._refuse),
    "piece": lambda driver, pick: driver._with(driver._alive(driver.world.replying), pick, driver._piece),
    "spoken": lambda driver, pick: driver._with(driver._alive(driver.world.replying), pick, driver._spoken),
    "answer": lambda driver, pick: driver._with(
        driver._alive([*driver.world.replying, *driver.world.rendering]), pick, driver.world.answer
    ),
    "kept": lambda driver, _: driver._with(driver.world.keeping[:1], 0, driver._kept),
    "not kept": lambda driver, _: driver._with(driver.world.keeping[:1], 0, driver._not_kept),
    "stuck": lambda driver, _: setattr(driver.world, "writable", False),
    "caught up": lambda driver, _: driver.catch_up(),
    "others": lambda driver, _: setattr(driver.world, "others", BYTES_OF_OTHERS - driver.world.others),
    "later": lambda driver, pick: driver._wait((1, 29, 31, 61, 400, 700)[pick]),
    "receiving": lambda driver, _: setattr(driver.world, "receiving", not driver.world.receiving),
    "drain": lambda driver, _: driver.machine.drain(),
    "abort": lambda driver, _: driver.machine.abort(),
    "leave": lambda driver, _: driver.machine.peer_left(1000, "the client left"),
    "permit lost": lambda driver, _: driver.machine.permit_lost(),
    "token": lambda driver, _: driver.machine.token_expired(),
    "bug": lambda driver, _: driver.machine.fail(),
}
ENDS = {"drain", "abort", "leave", "permit lost", "token", "bug"}
USUAL = [what for what in ACTIONS if what not in ENDS]
STEPS = st.builds(
    operator.add,
    st.lists(st.tuples(st.sampled_from(USUAL), st.integers(0, 5)), max_size=60),
    st.lists(st.tuples(st.sampled_from(list(ACTIONS)), st.integers(0, 5)), max_size=20),
)


@settings(max_examples=400, deadline=None)
@given(STEPS, AT_ONCE, st.sampled_from([V1, V2]))
def test_whatever_happens_in_whatever_order(steps: list[Step], at_once: frozenset[str], dialect: Dialect) -> None:
    driver = Driver(World(at_once, dialect))
    for what, pick in steps:
        driver.step(what, pick)
    driver.settle()
    world = driver.world
    assert driver.machine.unfinished == 0
    assert (world.permits, world.charged, world.pod_used) == (set(), {}, 0)
    if driver.machine.state is ConnectionState.OPEN and driver.machine.end is None:
        answered = [message for message in driver.read if message.stage is Stage.DONE]
        assert answered == driver.read, "every message that was read is answered"
        responses = [frame for frame in world.sent if dialect is V1 or frame[0] == ServerType.RESPONSE]
        assert len(responses) == len(driver.read), "every message gets exactly one response"
        for number in world.cancels:
            assert driver.read[number].reply == error_frame("cancelled", "why")
    else:
        driver.machine.abort()
        driver.settle()
    assert world.finished_times == (driver.machine.state is ConnectionState.CLOSED)


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(Stage, get_args(Event))))
def test_the_table_is_all_there_is(stage: Stage, event: Event) -> None:
    message = PendingMessage(b"\x00a", NOW)
    message.stage = stage
    if (stage, event) in NEXT:
        message.move(event)
        assert message.stage is NEXT[stage, event]
    else:
        with pytest.raises(IllegalEvent, match=f"{event} while {stage.name}"):
            message.move(event)


def test_a_stage_is_left_in_order_only() -> None:
    assert all(after >= before for (before, _), after in NEXT.items())
    assert {stage for stage, _ in NEXT} == set(Stage) - {Stage.DONE}


def talk(at_once: frozenset[str], texts: int) -> Driver:
    driver = Driver(World(at_once))
    for _ in range(texts):
        driver.step("text", 0)
    return driver


def sent(world: World) -> list[object]:
    """What the peer was sent: pieces as their text, statuses, and replies as their bytes."""
    frames = [(decode_server_frame(frame), frame) for frame in world.sent]
    return [
        read.text if isinstance(read, Piece) else read.progress if isinstance(read, Status) else bytes(payload(frame))
        for read, frame in frames
    ]


def test_pieces_leave_as_they_come_also_before_an_earlier_reply() -> None:
    driver = talk(frozenset({"admit", "prepare"}), 2)
    world, (first, second) = driver.world, driver.read
    driver.machine.piece(first, "one ")
    driver._spoken(first)
    driver.machine.piece(second, "two ")
    assert sent(world) == ["one ", "two "]
    world.answer(first)
    driver._kept(first)
    world.answer(second)
    driver._kept(second)
    assert sent(world) == ["one ", "two ", reply_to(0), reply_to(1)]


def test_a_slow_reader_gets_in_one_piece_what_was_said_meanwhile() -> None:
    driver = talk(frozenset({"admit", "prepare"}), 1)
    world, (message,) = driver.world, driver.read
    world.writable = False
    for text in ("one ", "two ", "three "):
        driver.machine.piece(message, text)
        driver.machine.status(message, Progress.SPEAKING)
    assert sent(world) == ["one "]
    driver.catch_up()
    assert sent(world) == ["one ", "two three "]
    driver.machine.status(message, Progress.SPEAKING)
    assert sent(world)[2:] == [Progress.SPEAKING]


def test_pieces_that_could_not_leave_are_left_out_once_the_reply_is_kept() -> None:
    driver = talk(frozenset({"admit", "prepare"}), 1)
    world, (message,) = driver.world, driver.read
    world.writable = False
    driver.machine.piece(message, "one ")
    driver.machine.piece(message, "two ")
    world.answer(message)
    driver._kept(message)
    assert sent(world) == ["one "]
    driver.catch_up()
    assert sent(world) == ["one ", reply_to(0)]
    assert driver.machine.unfinished == 0


def test_a_cancel_gets_through_while_the_window_is_full_and_the_reply_waits_for_the_work_to_end() -> None:
    driver = talk(frozenset({"admit", "prepare"}), WINDOW)
    world, (first, second, _) = driver.world, driver.read
    assert not world.paused
    driver.machine.received(PendingMessage(envelope(ClientType.CANCEL, id_of(1)), NOW))
    driver.machine.received(PendingMessage(envelope(ClientType.CANCEL, id_of(0)), NOW))
    assert (sent(world), world.abandoned) == ([], [second, first])
    assert world.permits == {0, 1, 2}, "the work has not ended"
    driver._abandoned_work_ends(1)
    driver._abandoned_work_ends(1)
    assert sent(world) == [error_frame("cancelled", "why")] * 2
    assert (world.permits, world.turns, world.kept) == ({2}, [0, 2], [])


def test_a_cancelled_message_is_kept_with_what_was_shown_of_its_reply() -> None:
    driver = talk(frozenset({"admit", "prepare"}), 1)
    world, (message,) = driver.world, driver.read
    driver.machine.piece(message, "one ")
    world.writable = False
    driver.machine.piece(message, "two ")
    driver.machine.piece(message, "three ")
    assert message.shown == "one two "
    driver.machine.received(PendingMessage(envelope(ClientType.CANCEL, id_of(0)), NOW))
    driver._abandoned_work_ends(1)
    assert world.keeping == [message]
    driver.machine.received(PendingMessage(envelope(ClientType.CANCEL, id_of(0)), NOW))
    driver._kept(message)
    driver.catch_up()
    assert sent(world) == ["one ", "two ", error_frame("cancelled", "why")]


def test_an_id_that_is_under_way_is_refused_for_another_message() -> None:
    driver = talk(frozenset({"admit", "prepare"}), 1)
    driver._receive(driver._request(b"\x00b", 0))
    world, (first, _) = driver.world, driver.read
    assert world.refused_codes == ["message_id_in_use"]
    world.answer(first)
    driver._kept(first)
    one, two = world.sent
    assert decode_server_frame(one) == MessageResponse(id_of(0), decode_response(reply_to(0)))
    refusal = decode_server_frame(two)
    assert isinstance(refusal, MessageResponse)
    assert (refusal.message_id, refusal.response.error_code) == (id_of(0), "message_id_in_use")


@pytest.mark.parametrize(
    ("frame", "message_id", "code"),
    [
        (b"\x00" + id_of(7).bytes + b"\x09a", id_of(7), "frame_kind_unknown"),
        (b"\x07" + id_of(7).bytes, id_of(7), "frame_kind_unknown"),
        (b"\x02" + id_of(7).bytes + b"a", id_of(7), "frame_part_unexpected"),
        (b"\x02" + bytes(16), NO_MESSAGE, "frame_id_invalid"),
        (b"\x00" + id_of(7).bytes[:9], NO_MESSAGE, "frame_truncated"),
        (None, NO_MESSAGE, "not_binary"),
    ],
)
def test_an_unreadable_frame_is_answered_with_its_id(frame: bytes | None, message_id: UUID, code: str) -> None:
    driver = Driver(World(frozenset()))
    driver._receive(frame)
    response = decode_server_frame(driver.world.sent[0])
    assert isinstance(response, MessageResponse)
    assert (response.message_id, response.response.error_code) == (message_id, code)


def test_the_last_message_of_a_drain_may_be_answered_and_sent_within_its_turn() -> None:
    driver = talk(frozenset({"admit", "reply", "keep"}), 1)
    driver.machine.drain()
    driver._prepared(driver.read[0])
    driver.check()
    world = driver.world
    assert (sent(world), world.close_code, world.finished_times) == ([reply_to(0)], CloseCode.DRAINING, 1)
