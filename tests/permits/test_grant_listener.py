"""A listener passes notices on, and keeps a subscription: it asks a silent one for a sign of life, and makes another.

Time is virtual, and the subscriptions are the test's.
"""

import asyncio
import gc
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from permits.redis import grant_listener as module
from permits.redis.channel import StoreLost
from permits.redis.grant_listener import SENSELESS_LOG_SECONDS, GrantListener
from permits.redis.reusable_timeout import ReusableTimeout

pytestmark = pytest.mark.looptime

SILENCE_SECONDS = 10.0
PAUSE_SECONDS = SILENCE_SECONDS / 2


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Server:
    """Stands in for the store and for all that a listener tells others.

    Attributes:
        opens: what the next subscriptions do as they are opened: raise this, or take so many seconds.
        says: what the open subscription says next; an exception breaks it.
        answers_pings: whether it does.
        news: what happened, and when.
        handed: what the listener passed on.
    """

    opens: deque[Exception | float] = field(default_factory=deque)
    says: "asyncio.Queue[bytes | Exception | None]" = field(default_factory=asyncio.Queue)
    answers_pings: bool = True
    news: list[tuple[float, str]] = field(default_factory=list)
    handed: list[tuple[str, str, list[tuple[str, int]]]] = field(default_factory=list)

    def note(self, what: str) -> Callable[[], None]:
        return lambda: self.news.append((now(), what))

    def hear(self, incarnation: str, epoch: str, handed: Iterable[tuple[str, int]]) -> None:
        self.handed.append((incarnation, epoch, list(handed)))


@dataclass
class FakeSubscription:
    """One subscription of a `Server`."""

    server: Server

    async def open(self) -> None:
        step = self.server.opens.popleft() if self.server.opens else 0.0
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)
        self.server.note("open")()

    async def ping(self) -> None:
        self.server.note("ping")()
        if self.server.answers_pings:
            self.server.says.put_nowait(None)

    async def next(self) -> bytes | None:
        said = await self.server.says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def close(self) -> None:
        self.server.note("close")()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module, "Subscription", lambda *_: FakeSubscription(server))
    return server


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[GrantListener]:
    redis: Any = None
    listener = GrantListener(
        redis,
        "pod:one",
        hear=server.hear,
        on_fault=server.note("fault"),
        on_subscribed=server.note("subscribed"),
        silence_seconds=SILENCE_SECONDS,
    )
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait([task])


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records]


async def test_a_notice_is_passed_on(server: Server) -> None:
    async with listening(server):
        server.says.put_nowait(b"one.1 epoch a 5 b 7")
        server.says.put_nowait(b"one.1 epoch c 8")
        await asyncio.sleep(1)
    assert server.handed == [("one.1", "epoch", [("a", 5), ("b", 7)]), ("one.1", "epoch", [("c", 8)])]


async def test_a_silent_subscription_is_kept_while_it_answers_pings(server: Server) -> None:
    async with listening(server):
        await asyncio.sleep(3.5 * SILENCE_SECONDS)
    assert server.news == [
        (0, "open"),
        (0, "subscribed"),
        *((number * SILENCE_SECONDS, "ping") for number in (1, 2, 3)),
        (3.5 * SILENCE_SECONDS, "close"),
    ]


async def test_one_that_does_not_answer_is_replaced(server: Server) -> None:
    server.answers_pings = False
    async with listening(server):
        await asyncio.sleep(2.9 * SILENCE_SECONDS)
        assert server.news == [
            (0, "open"),
            (0, "subscribed"),
            (SILENCE_SECONDS, "ping"),
            (2 * SILENCE_SECONDS, "close"),
            (2 * SILENCE_SECONDS + PAUSE_SECONDS, "open"),
            (2 * SILENCE_SECONDS + PAUSE_SECONDS, "subscribed"),
        ]


async def test_a_subscription_that_takes_too_long_is_given_up(server: Server) -> None:
    server.opens = deque([6 * SILENCE_SECONDS])
    async with listening(server) as listener:
        await asyncio.sleep(SILENCE_SECONDS - 1)
        assert not listener.tried.is_set()
        await asyncio.sleep(2)
        assert listener.tried.is_set()
        await asyncio.sleep(PAUSE_SECONDS)
        assert server.news == [
            (SILENCE_SECONDS, "close"),
            (SILENCE_SECONDS + PAUSE_SECONDS, "open"),
            (SILENCE_SECONDS + PAUSE_SECONDS, "subscribed"),
        ]


async def test_the_second_failure_in_a_row_is_a_warning(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.opens = deque([StoreLost("refused")] * 3)
    async with listening(server) as listener:
        await asyncio.sleep(3 * PAUSE_SECONDS + 1)
        assert levels(caplog) == ["INFO", "WARNING", "INFO"]
        assert listener.tried.is_set()
        server.opens.append(StoreLost("refused"))
        server.says.put_nowait(StoreLost("reset by peer"))
        await asyncio.sleep(2 * PAUSE_SECONDS + 1)
        assert levels(caplog)[3:] == ["INFO", "WARNING"]
    assert [time for time, what in server.news if what == "open"] == [3 * PAUSE_SECONDS, 5 * PAUSE_SECONDS + 1]


async def test_an_unforeseen_fault_is_told_and_tried_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.opens = deque([LookupError("unforeseen")])
    async with listening(server):
        await asyncio.sleep(PAUSE_SECONDS + 1)
    assert server.news[:3] == [(0, "fault"), (0, "close"), (PAUSE_SECONDS, "open")]
    assert levels(caplog) == ["ERROR"]


async def test_a_listener_that_is_subscribed_says_so(server: Server) -> None:
    async with listening(server) as listener, asyncio.timeout(1):
        await listener.tried.wait()
        assert server.news == [(0, "open"), (0, "subscribed")]


async def test_a_listener_that_has_ended_leaves_no_timer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[ReusableTimeout]] = []

    def make(seconds: float) -> ReusableTimeout:
        time_limit = ReusableTimeout(seconds)
        made.append(weakref.ref(time_limit))
        return time_limit

    monkeypatch.setattr(module, "ReusableTimeout", make)
    async with listening(server):
        await asyncio.sleep(1)
    gc.collect()
    assert [made_one() for made_one in made] == [None]


async def test_notices_that_make_no_sense_do_not_fill_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(server):
        for _ in range(1000):
            server.says.put_nowait(b"no sense: " + b"x" * 10_000)
        server.says.put_nowait(b"one.1 epoch a 5")
        await asyncio.sleep(SENSELESS_LOG_SECONDS - 1)
        assert server.handed == [("one.1", "epoch", [("a", 5)])]
        assert levels(caplog) == ["WARNING"]
        await asyncio.sleep(1)
        for _ in range(2):
            server.says.put_nowait(b"one.1 epoch a five")
        await asyncio.sleep(SENSELESS_LOG_SECONDS)
        server.says.put_nowait(b"")
        await asyncio.sleep(1)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition("as were ")[2] for line in lines[1:]] == [
        "999 since the last such line: b'one.1 epoch a five'",
        "1 since the last such line: b''",
    ]
    assert "as were 0 since" in lines[0]
    assert len(lines[0]) < 400
