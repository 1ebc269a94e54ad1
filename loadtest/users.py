"""The simulated clients. Each task is one message; a visit is a connection with some messages."""

import random
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any, ClassVar
from uuid import uuid4

from locust import TaskSet, User, between, constant, task

from frameproto import Request, Response, ResponseKind
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2
from loadtest.client_log import ClientExchange, ClientLog, Visit, digest
from loadtest.connection import (
    BROKEN,
    ConnectionEnded,
    Denied,
    NoConnection,
    PendingRequest,
    UserConnection,
    open_connection,
)
from loadtest.criteria import EXPLAINED_CLOSES, EXPLAINED_DENIALS, EXPLAINED_REFUSALS
from loadtest.phrases import ZONES, Phrases, fits, video, voice
from loadtest.tokens import token_of

LONGEST_REST_SECONDS = 4.0  # after a denial, so that a run of two minutes sees clients come again
ANSWER_SECONDS = 60.0
VOICE, VIDEO = voice(), video()
_addresses: "dict[str, cycle[str]]" = {}


class Unexplained(Exception):
    """Something that a correct server never does."""


Tasks = list[TaskSet | Callable[..., Any]]


class ChatUser(User):
    """A client that connects, sends messages, disconnects, and connects again.

    Attributes:
        window: how many messages it has in flight.
        messages_a_visit: how many it sends in a connection, at least and at most.
        rest_seconds: the pause between connections.
        vanishes: whether it drops the connection without a close frame, and resumes the same session.
        subprotocol: which version of the protocol it speaks; over version 2 it sends again what was not answered.
        client_log: its log.
    """

    abstract = True
    window = 1
    messages_a_visit = 5, 15
    rest_seconds = 1.0, 4.0
    vanishes = False
    subprotocol = SUBPROTOCOL_V1
    client_log: ClassVar[ClientLog] = ClientLog(lambda _: None)

    def on_start(self) -> None:
        """Choose a client id."""
        self.client = f"{type(self).__name__.lower()}-{uuid4().hex[:10]}"
        self.zone = random.choice(ZONES)
        self.repertoire = Phrases.of(self.client)
        self.talk: UserConnection | None = None
        self.visit: Visit | None = None
        self.session = ""
        self.left_to_say = 0
        self.unfinished: list[tuple[PendingRequest, ClientExchange]] = []

    def on_stop(self) -> None:
        """Disconnect. Requests that were to be sent again stay unanswered."""
        self.end_visit()
        for _, exchange in self.unfinished:
            self.client_log.note(exchange)

    @task(92)
    def say(self) -> None:
        """Send a text."""
        self.ask(*self.repertoire.text())

    @task(6)
    def send_voice(self) -> None:
        """Send a voice note."""
        self.ask(VOICE, "")

    @task(2)
    def send_video(self) -> None:
        """Send a video."""
        self.ask(VIDEO, "")

    def ask(self, request: Request, said: str) -> None:
        """Send a message, connecting first where needed, and leave after the last one of a visit."""
        if self.talk is None or self.talk.ended:
            self.end_visit()
            if not self.connect():
                return
        assert self.talk is not None
        try:
            self._finish(self.talk)
            self.talk.ask(request, said)
        except ConnectionEnded:
            return
        self.left_to_say -= 1
        if self.left_to_say <= 0:
            if not self.vanishes:
                self.talk.wait_for_answers(ANSWER_SECONDS)
            self.end_visit()
            time.sleep(random.uniform(*self.rest_seconds))

    def _finish(self, talk: UserConnection) -> None:
        """Send again what earlier connections did not answer. Raises ConnectionEnded."""
        while self.unfinished and talk.is_v2:
            talk.ask_again(self.unfinished.pop(0)[0])

    def connect(self) -> bool:
        """Connect; return whether that succeeded. After a denial, pause."""
        options = self.environment.parsed_options
        wait_seconds = options.connect_patience if options else 75.0
        visit = Visit(
            id=uuid4().hex[:12], client=self.client, zone=self.zone, habit=type(self).__name__,
            asked_at=time.time(), answered_at=0, entrance="gave_up",
        )  # fmt: skip
        pause_seconds = 0.0
        try:
            self.talk = open_connection(
                self._address(), client_id=self.client, time_zone=self.zone, session_id=self.session,
                window=self.window, wait_seconds=wait_seconds, on_answer=_Listener(self, visit),
                token=token_of(self.client), subprotocol=self.subprotocol,
            )  # fmt: skip
            visit.entrance, visit.session = "let_in", self.talk.session_id
            is_to_go_on = self.vanishes or self.subprotocol == SUBPROTOCOL_V2
            self.session = self.talk.session_id if is_to_go_on else ""
        except Denied as exc:
            visit.entrance, visit.status, visit.code, visit.place = "denied", exc.status, exc.code, exc.place
            pause_seconds = min(exc.retry_after_seconds, LONGEST_REST_SECONDS)
        except NoConnection as exc:
            visit.entrance, visit.code = "broken", str(exc)
            pause_seconds = 1.0
        finally:
            visit.answered_at = time.time()
            self.client_log.note(visit)
        self._report_entrance(visit)
        if self.talk is None or visit.entrance != "let_in":
            time.sleep(pause_seconds * random.uniform(0.5, 1.0))
            return False
        self.visit, self.left_to_say = visit, random.randint(*self.messages_a_visit)
        return True

    def end_visit(self) -> None:
        """End the connection, if there is one, with or without a close frame."""
        talk, visit, self.talk, self.visit = self.talk, self.visit, None, None
        if talk is None or visit is None:
            return
        ended_before = talk.ended
        visit.left_at = time.time()
        (talk.abort if self.vanishes else talk.leave)()
        visit.ended_at = talk.ended_at
        visit.by_us, visit.close_code = talk.ended_by_us, BROKEN if self.vanishes else talk.close_code
        if ended_before:
            visit.left_at, visit.close_code = talk.open_until, talk.close_code
            self._report(
                "closed",
                str(visit.close_code),
                0,
                wrong=not talk.ended_by_us and visit.close_code not in EXPLAINED_CLOSES,
            )
        self.client_log.note(visit)

    def _address(self) -> str:
        """Return where to connect; several addresses take turns."""
        host = self.host or self.environment.host or "ws://127.0.0.1:8000"
        return next(_addresses.setdefault(host, cycle(host.split(","))))

    def _report_entrance(self, visit: Visit) -> None:
        waited_seconds = visit.answered_at - visit.asked_at
        if visit.entrance == "let_in":
            self._report("connect", "wait for a connection", waited_seconds)
        elif visit.entrance == "denied":
            self._report(
                "denied", visit.code or str(visit.status), waited_seconds, wrong=visit.code not in EXPLAINED_DENIALS
            )
        else:
            self._report("connect", "no answer", waited_seconds, wrong=True)

    def _report(self, what: str, name: str, seconds: float, *, size_bytes: int = 0, wrong: bool = False) -> None:
        """Add it to Locust's statistics, as a failure if a correct server would not do that."""
        self.environment.events.request.fire(
            request_type=what, name=name, response_time=seconds * 1000, response_length=size_bytes,
            exception=Unexplained(f"{what} {name}") if wrong else None, context={},
        )  # fmt: skip


class _Listener:
    """Receives the answers of one connection."""

    def __init__(self, user: ChatUser, visit: Visit) -> None:
        self._user = user
        self._visit = visit

    def __call__(self, asked: PendingRequest, response: Response | None) -> None:
        kind = asked.request.kind.message_kind.value
        heard = ClientExchange(
            visit=self._visit.id, number=asked.number, kind=kind, said=asked.said,
            sent_at=asked.sent_at, ended_at=time.time(), outcome="unanswered",
            message_id="" if asked.message_id is None else str(asked.message_id), attempts=asked.attempts,
        )  # fmt: skip
        if response is None and asked.message_id is not None:
            self._user.unfinished.append((asked, heard))
            return
        seconds = heard.ended_at - heard.sent_at
        report = self._user._report  # noqa: SLF001 - two parts of one thing
        if response is not None and response.kind is ResponseKind.ERROR:
            heard.outcome, heard.code = "refused", response.error_code
            report("refused", heard.code, seconds, wrong=heard.code not in EXPLAINED_REFUSALS)
        elif response is not None:
            heard.outcome, heard.reply = "answered", digest(response.text)
            heard.voice_bytes, heard.image_bytes = len(response.voice), len(response.image)
            heard.fits = fits(asked.request, asked.said, response)
            size_bytes = len(response.text.encode()) + heard.voice_bytes + heard.image_bytes
            report("exchange", kind, seconds, size_bytes=size_bytes, wrong=not heard.fits)
        self._user.client_log.note(heard)


class Chatter(ChatUser):
    """Sends one message at a time, and pauses before the next."""

    weight = 6
    wait_time = between(1, 4)


class Reporter(ChatUser):
    """Sends more voice and video than text, a few at a time."""

    weight = 2
    window = 3
    wait_time = between(2, 6)
    tasks: Tasks = [*(ChatUser.say,) * 2, *(ChatUser.send_voice,) * 5, *(ChatUser.send_video,) * 3]  # noqa: RUF012 - as Locust has it


class Rusher(ChatUser):
    """Keeps its window full, mostly with texts, as a program would."""

    weight = 8
    window = 20
    messages_a_visit = 40, 90
    wait_time = constant(0)
    tasks: Tasks = [*(ChatUser.say,) * 97, *(ChatUser.send_voice,) * 2, ChatUser.send_video]  # noqa: RUF012 - as Locust has it

    def on_start(self) -> None:
        """Choose a client id, and the window from the options, which a worker has from the master only now."""
        super().on_start()
        options = self.environment.parsed_options
        self.window = options.window if options else self.window


class Resender(Rusher):
    """Speaks version 2. It drops the connection with a full window, and sends again what was not answered."""

    weight = 4
    messages_a_visit = 20, 50
    vanishes = True
    subprotocol = SUBPROTOCOL_V2
    rest_seconds = 0.2, 2.0


class Wanderer(ChatUser):
    """Drops the connection at any time, as on a train, and resumes its session."""

    weight = 2
    window = 5
    vanishes = True
    wait_time = between(0.2, 1)
    rest_seconds = 0.2, 2.0
