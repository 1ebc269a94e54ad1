"""The transport of a connection: frames come in order, one at a time, and only while they are wanted."""

from collections.abc import Callable

from chat_service.websocket_transport import WebSocketTransport
from frameproto.connection import CloseCode


class FakeProtocol:
    """The WebSocket protocol below: remembers what it was asked for."""

    def __init__(self) -> None:
        self.is_receiving = False
        self.reads = True
        self.frames: list[bytes] = []
        self.closes: list[tuple[int, str]] = []

    def send_frame(self, frame: bytes) -> bool:
        self.frames.append(frame)
        return len(self.frames) < 2

    def send_close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def read_on(self) -> None:
        self.reads = True

    def stop_reading(self) -> None:
        self.reads = False


class FakeReceiver:
    """The conversation above: `on_frame` is called within each frame."""

    def __init__(self, on_frame: Callable[[], None] = lambda: None) -> None:
        self.events: list[object] = []
        self.on_frame = on_frame

    def frame_received(self, frame: bytes | None) -> None:
        self.events.append(frame)
        self.on_frame()

    def caught_up(self) -> None:
        self.events.append("caught up")

    def peer_left(self, code: int, reason: str) -> None:
        self.events.append((code, reason))


def test_frames_that_come_before_the_receiver_wait_and_nothing_more_is_read_meanwhile() -> None:
    protocol, receiver = FakeProtocol(), FakeReceiver()
    transport = WebSocketTransport(protocol)
    transport.received(b"1")
    transport.received(None)
    assert not protocol.reads
    assert not transport.is_attached
    transport.attach(receiver)
    transport.received(b"3")
    assert receiver.events == [b"1", None, b"3"]
    assert protocol.reads


def test_frames_wait_while_reading_is_paused() -> None:
    protocol, receiver = FakeProtocol(), FakeReceiver()
    transport = WebSocketTransport(protocol)
    transport.attach(receiver)
    receiver.on_frame = transport.pause_reading
    transport.received(b"1")
    transport.received(b"2")
    transport.received(b"3")
    assert (receiver.events, protocol.reads) == ([b"1"], False)
    transport.resume_reading()
    assert (receiver.events, protocol.reads) == ([b"1", b"2"], False)
    receiver.on_frame = lambda: None
    transport.resume_reading()
    assert (receiver.events, protocol.reads) == ([b"1", b"2", b"3"], True)


def test_a_frame_that_arrives_within_another_one_comes_after_it() -> None:
    protocol, receiver = FakeProtocol(), FakeReceiver()
    transport = WebSocketTransport(protocol)
    transport.attach(receiver)
    more = iter([b"2", b"3"])

    def arrives_within() -> None:
        for frame in more:
            transport.received(frame)
            assert receiver.events[-1] != frame

    receiver.on_frame = arrives_within
    transport.received(b"1")
    assert receiver.events == [b"1", b"2", b"3"]


def test_the_receiver_is_told_once_that_the_peer_left_and_of_nothing_after_it() -> None:
    protocol, receiver = FakeProtocol(), FakeReceiver()
    transport = WebSocketTransport(protocol)
    transport.attach(receiver)
    transport.caught_up()
    transport.left(0)
    transport.left(1000, "again")
    transport.received(b"late")
    transport.caught_up()
    assert receiver.events == ["caught up", (CloseCode.NO_STATUS, "the client left")]


def test_a_peer_that_left_during_the_handshake_is_told_to_who_waits_or_to_the_receiver() -> None:
    told: list[str] = []
    early = WebSocketTransport(FakeProtocol())
    early.on_left(lambda: told.append("while it waited"))
    early.left(1006)
    late = WebSocketTransport(FakeProtocol())
    late.received(b"dropped")
    late.left(1006, "gone")
    late.on_left(lambda: told.append("before it waited"))
    assert told == ["while it waited", "before it waited"]
    receiver = FakeReceiver()
    late.attach(receiver)
    assert receiver.events == [(1006, "gone")]


def test_after_a_close_of_ours_nothing_is_delivered() -> None:
    protocol, receiver = FakeProtocol(), FakeReceiver()
    transport = WebSocketTransport(protocol)
    transport.attach(receiver)
    assert transport.send(b"reply")
    assert not transport.send(b"the peer is behind")
    transport.close(CloseCode.DRAINING, "the pod goes")
    transport.received(b"late")
    transport.left(1000)
    assert (protocol.closes, receiver.events) == ([(1012, "the pod goes")], [])
    assert protocol.frames == [b"reply", b"the peer is behind"]
