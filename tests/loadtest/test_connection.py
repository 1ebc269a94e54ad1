"""One simulated connection, against a server in a thread that does what a test wants."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from uuid import uuid4

import pytest
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Answer
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from frameproto import Request, RequestKind, Response, ResponseKind, decode_request, encode_response
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from frameproto.v2 import (
    MessageRequest,
    MessageResponse,
    Piece,
    Progress,
    Status,
    decode_client_frame,
    encode_server_frame,
)
from loadtest.connection import (
    ConnectionEnded,
    Denied,
    NoConnection,
    OnAnswer,
    PendingRequest,
    UserConnection,
    open_connection,
)

Handler = Callable[[ServerConnection], None]
Gate = Callable[[ServerConnection, Handshake], Answer | None]


@contextmanager
def served(handler: Handler, gate: Gate | None = None, *, subprotocol: str = SUBPROTOCOL_V1) -> Iterator[str]:
    spoken = [Subprotocol(subprotocol)]
    with serve(handler, "127.0.0.1", 0, process_request=gate, subprotocols=spoken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


def echo(websocket: ServerConnection) -> None:
    for frame in websocket:
        assert isinstance(frame, bytes)
        websocket.send(encode_response(Response(ResponseKind.TEXT, f"you said {decode_request(frame).text}")))


class Heard:
    """What came back, and whether that is all."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str | None]] = []

    def __call__(self, asked: PendingRequest, response: Response | None) -> None:
        self.answers.append((asked.said, None if response is None else response.text))


def talk_to(
    address: str, heard: OnAnswer, *, window: int = 3, wait_seconds: float = 60, subprotocol: str = SUBPROTOCOL_V1
) -> UserConnection:
    return open_connection(
        address, client_id="anna", time_zone="+07:00", session_id="", window=window, wait_seconds=wait_seconds,
        on_answer=heard, subprotocol=subprotocol,
    )  # fmt: skip


def say(talk: UserConnection, said: str) -> None:
    talk.ask(Request(RequestKind.TEXT, said.encode()), said)


def test_replies_are_heard_in_order_and_a_goodbye_is_ours() -> None:
    heard = Heard()
    with served(echo) as address:
        talk = talk_to(address, heard)
        for number in range(10):
            say(talk, f"number {number}")
        assert talk.wait_for_answers(60)
        talk.leave()
    assert heard.answers == [(f"number {n}", f"you said number {n}") for n in range(10)]
    assert (talk.ended, talk.ended_by_us, talk.close_code) == (True, True, 1000)


def test_a_full_window_waits_for_an_answer() -> None:
    arrived, answer = threading.Semaphore(0), threading.Semaphore(0)

    def slow(websocket: ServerConnection) -> None:
        for _ in websocket:
            arrived.release()
            answer.acquire()
            websocket.send(encode_response(Response(ResponseKind.TEXT, "at last")))

    with served(slow) as address:
        heard = Heard()
        talk = talk_to(address, heard, window=1)
        say(talk, "first")
        second = threading.Thread(target=say, args=[talk, "second"])
        second.start()
        assert arrived.acquire(timeout=60)
        assert not talk.wait_for_answers(0)
        assert second.is_alive()
        answer.release(2)
        second.join(60)
        assert talk.wait_for_answers(60)
        assert [said for said, _ in heard.answers] == ["first", "second"]
        talk.leave()


def test_what_has_no_answer_when_the_server_ends_it_is_told() -> None:
    def leave(websocket: ServerConnection) -> None:
        websocket.recv()
        websocket.close(1012, "restarting")

    heard = Heard()
    with served(leave) as address:
        talk = talk_to(address, heard)
        say(talk, "hello?")
        assert talk.wait_for_answers(60)
        with pytest.raises(ConnectionEnded):
            while True:
                say(talk, "still there?")
        talk.leave()
    assert heard.answers[0] == ("hello?", None)
    assert (talk.ended, talk.ended_by_us, talk.close_code) == (True, False, 1012)


@pytest.mark.parametrize("frame", [b"\x09", "text", b""])
def test_a_server_that_speaks_something_else_ends_the_talk(frame: bytes | str) -> None:
    def babble(websocket: ServerConnection) -> None:
        websocket.recv()
        websocket.send(frame)
        websocket.recv()

    heard = Heard()
    with served(babble) as address:
        talk = talk_to(address, heard)
        say(talk, "hello?")
        assert talk.wait_for_answers(60)
        assert heard.answers == [("hello?", None)]
        assert (talk.ended_by_us, talk.close_code) == (False, 1002)
        talk.abort()


def test_vanishing_says_no_goodbye() -> None:
    codes: list[int | None] = []
    gone = threading.Event()

    def wait(websocket: ServerConnection) -> None:
        for _ in websocket:
            pass
        codes.append(websocket.close_code)
        gone.set()

    with served(lambda websocket: _quietly(wait, websocket, codes, gone)) as address:
        talk = talk_to(address, Heard())
        open_at = time.time()
        talk.abort()
        assert gone.wait(60)
    assert open_at <= talk.open_until <= talk.ended_at
    assert codes == [1006]
    assert talk.ended_by_us


def test_a_denial_tells_its_code_and_place() -> None:
    problem = json.dumps({"code": "cluster_full", "place": 7}).encode()

    def gate(websocket: ServerConnection, _: Handshake) -> Answer:
        answer = websocket.respond(HTTPStatus.SERVICE_UNAVAILABLE, problem.decode())
        answer.headers["Retry-After"] = "10"
        return answer

    with served(echo, gate) as address, pytest.raises(Denied) as denied:
        talk_to(address, Heard())
    told = denied.value
    assert (told.status, told.code, told.place, told.retry_after_seconds) == (503, "cluster_full", 7, 10.0)


def test_a_denial_without_a_reason_has_no_code() -> None:
    with (
        served(echo, lambda websocket, _: websocket.respond(HTTPStatus.BAD_GATEWAY, "<html>")) as address,
        pytest.raises(Denied) as denied,
    ):
        talk_to(address, Heard())
    assert (denied.value.status, denied.value.code) == (502, "")


def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(NoConnection):
        talk_to("ws://127.0.0.1:9", Heard())


def test_a_server_that_never_answers_the_handshake_is_given_up() -> None:
    done = threading.Event()

    def gate(_: ServerConnection, __: Handshake) -> None:
        done.wait(60)

    with served(echo, gate) as address:
        with pytest.raises(NoConnection):
            talk_to(address, Heard(), wait_seconds=0.1)
        done.set()


def _quietly(wait: Handler, websocket: ServerConnection, codes: list[int | None], gone: threading.Event) -> None:
    try:
        wait(websocket)
    except Exception:  # noqa: BLE001 - whatever it is, the connection is over
        codes.append(websocket.close_code)
        gone.set()


def test_over_v2_messages_have_names_and_are_sent_again_under_them() -> None:
    received: list[MessageRequest] = []

    def answer_the_second_time(websocket: ServerConnection) -> None:
        for frame in websocket:
            assert isinstance(frame, bytes)
            asked = decode_client_frame(frame)
            assert isinstance(asked, MessageRequest)
            received.append(asked)
            if not asked.again:
                websocket.socket.shutdown(socket.SHUT_RDWR)
                return
            text = f"you said {asked.request.text}"
            for told in (
                Status(asked.message_id, Progress.THINKING),
                Piece(asked.message_id, text[:3]),
                MessageResponse(asked.message_id, Response(ResponseKind.TEXT, text)),
            ):
                websocket.send(encode_server_frame(told))

    pending: list[PendingRequest] = []
    answers: list[str] = []

    def listen(asked: PendingRequest, response: Response | None) -> None:
        if response is None:
            pending.append(asked)
        else:
            answers.append(response.text)

    with served(answer_the_second_time, subprotocol=SUBPROTOCOL_V2) as address:
        first = talk_to(address, listen, subprotocol=SUBPROTOCOL_V2)
        say(first, "hello")
        assert first.wait_for_answers(60)
        first.leave()
        second = talk_to(address, listen, subprotocol=SUBPROTOCOL_V2)
        second.ask_again(pending.pop())
        assert second.wait_for_answers(60)
        second.leave()
    assert (answers, pending) == (["you said hello"], [])
    assert [asked.again for asked in received] == [False, True]
    assert received[0].message_id == received[1].message_id


def test_what_is_sent_again_over_a_connection_that_is_over_stays_to_be_sent() -> None:
    heard = Heard()
    with served(lambda websocket: websocket.close(), subprotocol=SUBPROTOCOL_V2) as address:
        talk = talk_to(address, heard, subprotocol=SUBPROTOCOL_V2)
        assert talk.wait_for_answers(60)
        talk.leave()
        earlier = PendingRequest(0, Request(RequestKind.TEXT, b"hello"), "hello", 0.0, uuid4())
        with pytest.raises(ConnectionEnded):
            talk.ask_again(earlier)
    assert heard.answers == [("hello", None)]
