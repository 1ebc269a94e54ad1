"""Bots are run within limits, whichever way they reply."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botkit import BotError, Memory, RequestKind, Turn, whole
from botkit.testing import MONDAY_MORNING
from chat_service.bot.reply import PresentablePieces, presentable
from chat_service.bot.runner import BotRunner, CircuitBreaker
from frameproto import encode_response, error_response

HELLO = Turn(kind=RequestKind.TEXT, client_id="anna", local_time=MONDAY_MORNING, text="hello")


class Observer:
    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.seconds: list[tuple[float, float]] = []
        self.failures: list[str] = []

    def replied(self, bot: str, *, seconds: float, first_piece_seconds: float, pieces: int) -> None:
        assert bot == "trial"
        assert 0 <= first_piece_seconds <= seconds
        self.pieces.append(pieces)
        self.seconds.append((first_piece_seconds, seconds))

    def failed(self, bot: str, code: str) -> None:
        assert bot == "trial"
        self.failures.append(code)

    def used_tokens(self, bot: str, *, asked: int, replied: int) -> None:
        raise AssertionError(f"no model was asked: {bot} {asked} {replied}")


class Bot:
    """Replies as the test says, and can be entered."""

    def __init__(self, reply: Callable[[Turn, Memory], Any]) -> None:
        self._reply = reply
        self.entered = 0
        self.asked = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1

    def reply(self, turn: Turn, memory: Memory, /) -> Any:
        self.asked += 1
        return self._reply(turn, memory)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def runner(bot: Bot, observer: Observer | None = None, **changes: Any) -> BotRunner:
    settings: dict[str, Any] = {
        "name": "trial",
        "seconds": 5,
        "turns_at_once": 10,
        "max_reply_characters": 100,
        "breaker": CircuitBreaker(3, 10),
        "fallback": None,
        "observer": observer or Observer(),
    }
    return BotRunner(bot, **(settings | changes))


async def later(turn: Turn, memory: Memory) -> str:
    del memory
    await asyncio.sleep(0)
    return f"later {turn.text}"


async def in_pieces(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    del memory
    for letter in turn.text:
        await asyncio.sleep(0)
        yield letter


async def pieces_later(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    await asyncio.sleep(0)
    return in_pieces(turn, memory)


@pytest.mark.parametrize(
    ("reply", "said", "pieces"),
    [
        (lambda turn, _: f"at once {turn.text}", "at once hello", 1),
        (later, "later hello", 1),
        (in_pieces, "hello", 5),
        (pieces_later, "hello", 5),
    ],
    ids=["at once", "later", "in pieces", "pieces later"],
)
async def test_every_form_of_a_reply(reply: Callable[[Turn, Memory], Any], said: str, pieces: int) -> None:
    observer, bot = Observer(), Bot(reply)
    async with runner(bot, observer) as running:
        assert bot.entered == 1
        assert await whole(running.reply(HELLO, Memory())) == said
    assert (observer.pieces, bot.entered) == ([pieces], 0)


async def never(turn: Turn, memory: Memory) -> str:
    del turn, memory
    await asyncio.Event().wait()
    return ""


async def silent_pieces(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    yield "a"
    await never(turn, memory)


@pytest.mark.parametrize("reply", [never, silent_pieces])
async def test_a_bot_that_takes_too_long_is_cut(reply: Callable[[Turn, Memory], Any]) -> None:
    observer = Observer()
    with pytest.raises(BotError) as failed:
        await whole(runner(Bot(reply), observer, seconds=0.05).reply(HELLO, Memory()))
    assert (failed.value.code, failed.value.retryable, observer.failures) == ("bot_timeout", True, ["bot_timeout"])


def crash(turn: Turn, memory: Memory) -> str:
    raise KeyError("lost")


async def crash_later(turn: Turn, memory: Memory) -> str:
    raise KeyError("lost")


def leave(turn: Turn, memory: Memory) -> str:
    raise SystemExit(3)


async def leave_later(turn: Turn, memory: Memory) -> str:
    await asyncio.sleep(0)
    sys.exit("lost")


async def interrupt(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    yield "a"
    raise KeyboardInterrupt


async def wait_for_what_is_cancelled(turn: Turn, memory: Memory) -> str:
    helper = asyncio.create_task(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(helper.cancel)
    await helper
    return ""


def cancelled_at_once(turn: Turn, memory: Memory) -> str:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "reply",
    [
        *(crash, crash_later, lambda *_: "  ", lambda *_: 3, lambda *_: None),
        *(leave, leave_later, interrupt, wait_for_what_is_cancelled, cancelled_at_once),
    ],
)
async def test_a_bot_that_fails_is_not_our_bug(reply: Callable[[Turn, Memory], Any]) -> None:
    observer = Observer()
    with pytest.raises(BotError) as failed:
        await whole(runner(Bot(reply), observer).reply(HELLO, Memory()))
    assert failed.value.code == "bot_failed"
    assert "lost" not in str(failed.value)
    assert observer.failures == ["bot_failed"]


async def test_a_turn_that_is_cancelled_is_no_failure_of_the_bot() -> None:
    observer = Observer()
    reply = runner(Bot(never), observer).reply(HELLO, Memory())
    turn = asyncio.create_task(whole(reply))
    await asyncio.sleep(0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert observer.failures == []


@pytest.mark.parametrize(
    ("message", "code", "sent", "sent_code"),
    [
        ("closed today", "shop_closed", "closed today", "shop_closed"),
        ("", "shop_closed", "the bot could not reply", "shop_closed"),
        (" \x1b", "shop_closed", "the bot could not reply", "shop_closed"),
        ("half \ud83d", "bot_failed", "half \ufffd", "bot_failed"),
        ("closed", "Shop closed", "closed", "bot_failed"),
        ("closed", "shop: closed", "closed", "bot_failed"),
        ("closed", "x" * 100, "closed", "bot_failed"),
        ("x" * 10_000, "bot_failed", "x" * 500, "bot_failed"),
    ],
    ids=lambda given: ascii(given[:20]),
)
async def test_whatever_an_error_of_a_bot_says_it_can_be_sent(
    message: str, code: str, sent: str, sent_code: str
) -> None:
    def refuse(turn: Turn, memory: Memory) -> str:
        raise BotError(message, code=code, retryable=True)

    with pytest.raises(BotError) as failed:
        await whole(runner(Bot(refuse)).reply(HELLO, Memory()))
    assert (str(failed.value), failed.value.code, failed.value.retryable) == (sent, sent_code, True)
    assert encode_response(error_response(failed.value.code, str(failed.value)))


async def endless(turn: Turn, memory: Memory) -> AsyncIterator[str]:
    while True:
        await asyncio.sleep(0)
        yield "word "


async def test_an_endless_reply_is_cut() -> None:
    said = await whole(runner(Bot(endless)).reply(HELLO, Memory()))
    assert len(said) == 100
    assert said.endswith("…")


async def test_only_so_many_turns_at_once() -> None:
    go, running = asyncio.Event(), 0

    async def slow(turn: Turn, memory: Memory) -> str:
        nonlocal running
        running += 1
        await go.wait()
        return "done"

    limited = runner(Bot(slow), turns_at_once=2)
    async with asyncio.TaskGroup() as group:
        turns = [group.create_task(whole(limited.reply(HELLO, Memory()))) for _ in range(5)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert running == 2
        go.set()
    assert [turn.result() for turn in turns] == ["done"] * 5


async def test_waiting_for_other_turns_counts() -> None:
    slow = runner(Bot(never), turns_at_once=1, seconds=0.05)
    turns = await asyncio.gather(*(whole(slow.reply(HELLO, Memory())) for _ in range(3)), return_exceptions=True)
    assert [getattr(turn, "code", None) for turn in turns] == ["bot_timeout"] * 3


async def test_a_bot_that_fails_all_the_time_is_passed_by_until_it_is_well() -> None:
    clock, well = Clock(), False

    def moody(turn: Turn, memory: Memory) -> str:
        if not well:
            raise BotError("not now", retryable=True)
        return "well again"

    bot = Bot(moody)
    running = runner(bot, breaker=CircuitBreaker(3, 10, clock), fallback=runner(Bot(lambda *_: "the script")))
    for _ in range(3):
        with pytest.raises(BotError, match="not now"):
            await whole(running.reply(HELLO, Memory()))
    assert [await whole(running.reply(HELLO, Memory())) for _ in range(4)] == ["the script"] * 4
    assert bot.asked == 3
    clock.now = 10
    with pytest.raises(BotError):  # one is tried, the others are still passed by
        await whole(running.reply(HELLO, Memory()))
    assert await whole(running.reply(HELLO, Memory())) == "the script"
    assert bot.asked == 4
    clock.now, well = 20, True
    assert [await whole(running.reply(HELLO, Memory())) for _ in range(3)] == ["well again"] * 3


async def test_without_a_fallback_the_turn_fails_at_once() -> None:
    bot = Bot(crash)
    running = runner(bot, breaker=CircuitBreaker(1, 10))
    for _ in range(3):
        with pytest.raises(BotError) as failed:
            await whole(running.reply(HELLO, Memory()))
        assert failed.value.retryable
    assert bot.asked == 1


@given(
    st.lists(st.text(st.sampled_from("ab \r\n\0\u2028\ud83d\U0001f600"), max_size=6), max_size=12), st.integers(1, 30)
)
def test_the_pieces_that_are_handed_on_are_the_beginning_of_what_is_sent(pieces: list[str], most: int) -> None:
    handed_on: list[str] = []
    sink = PresentablePieces(handed_on.append, most)
    for piece in pieces:
        sink.add(piece)
    whole_reply = presentable("".join(pieces)[:most] + "end").removesuffix("end")
    assert all(handed_on), "an empty piece is none"
    assert whole_reply.removeprefix("".join(handed_on)) in {"", "\n"}, "a line end may wait for its second half"


async def test_pieces_are_handed_on_as_they_come_and_a_whole_reply_is_none() -> None:
    handed_on: list[str] = []
    async with runner(Bot(in_pieces)) as running:
        assert await whole(running.reply(HELLO, Memory(), handed_on.append)) == "hello"
    assert handed_on == [*"hello"]
    async with runner(Bot(later)) as running:
        assert await whole(running.reply(HELLO, Memory(), handed_on.append)) == "later hello"
    assert handed_on == [*"hello"]


async def test_a_fallback_hands_its_pieces_on_and_they_are_not_those_of_the_bot() -> None:
    observer = Observer()
    running = runner(Bot(crash), observer, breaker=CircuitBreaker(1, 10), fallback=runner(Bot(in_pieces)))
    with pytest.raises(BotError):
        await whole(running.reply(HELLO, Memory()))
    handed_on: list[str] = []
    assert await whole(running.reply(HELLO, Memory(), handed_on.append)) == "hello"
    assert (handed_on, observer.pieces, observer.failures) == ([*"hello"], [], ["bot_failed"])


async def test_the_first_piece_of_the_other_bot_is_also_that_of_the_bot_that_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, observer, of_other = Clock(), Observer(), Observer()
    monkeypatch.setattr("chat_service.bot.runner.time", SimpleNamespace(monotonic=clock))

    async def slow_pieces(turn: Turn, memory: Memory) -> AsyncIterator[str]:
        clock.now = 1
        yield turn.text
        clock.now = 3
        yield "!"

    other = runner(Bot(slow_pieces), of_other)
    assert await whole(runner(Bot(other.reply), observer).reply(HELLO, Memory())) == "hello!"
    assert (of_other.pieces, of_other.seconds) == ([2], [(1, 3)])
    assert (observer.pieces, observer.seconds) == ([1], [(1, 3)])
