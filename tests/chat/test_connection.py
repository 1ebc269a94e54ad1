import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

import pytest

from botkit import Memory, Turn
from chat_service.fair_bytes import FairByteBudget
from chat_service.media.base import MediaError
from chat_service.outbox import OutboxFull
from frameproto import ResponseKind
from frameproto.kinds import Outcome
from permits import PermitError, PoolLearning, PoolUnavailable
from permits.memory import MemoryPool
from tests.chat.conversation_parts import START, EchoBot, Scene, limits, open_scene, refused, texts

pytestmark = pytest.mark.looptime


@pytest.fixture(autouse=True, params=[True, False], ids=["bot replies at once", "bot replies later"])
def _bot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every promise holds for texts that take no task, and for those that do."""
    monkeypatch.setattr(EchoBot, "replies_at_once", request.param)


async def goodbye(scene: Scene) -> None:
    """End the conversation from the client's side; every test checks that nothing is left behind."""
    scene.line.leave()
    await scene.running
    await nothing_left(scene)


async def nothing_left(scene: Scene) -> None:
    assert (await scene.messages.state()).held == 0
    assert (await scene.connections.state()).held == 0
    assert scene.pod_bytes.used == 0


async def held(scene: Scene) -> int:
    return (await scene.messages.state()).held


async def test_each_kind_gets_its_kind_of_reply() -> None:
    scene = await open_scene()
    scene.line.text("hello")
    scene.line.voice(b"1")
    scene.line.video(b"1")
    text, voice, video = await scene.line.replies(3)
    assert (text.kind, text.text, bytes(text.voice), bytes(text.image)) == (
        ResponseKind.TEXT,
        "you said hello",
        b"",
        b"",
    )
    assert (voice.kind, bytes(voice.voice), bytes(voice.image)) == (ResponseKind.VOICE, b"mp3 of you said voice", b"")
    assert (video.kind, bytes(video.image)) == (ResponseKind.VIDEO, b"\xff\xd8poster")
    await goodbye(scene)


async def test_replies_keep_the_order_of_requests_while_media_is_worked_on_side_by_side() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene()
    began = loop.time()
    scene.line.voice(b"9")
    scene.line.text("a")
    scene.line.voice(b"5")
    scene.line.text("b")
    replies = await scene.line.replies(4)
    assert texts(replies) == ["you said voice", "you said a", "you said voice", "you said b"]
    assert scene.bot.turns == ["voice", "a", "voice", "b"]
    assert loop.time() - began == pytest.approx(9, abs=0.1)
    await goodbye(scene)


async def test_the_exchange_is_kept_before_the_reply_leaves() -> None:
    scene = await open_scene()
    scene.line.reads.clear()
    scene.line.text("hello")
    await asyncio.sleep(1)
    assert [bytes(kept.request) for kept in scene.outbox.kept] == [b"\x00hello"]
    assert scene.line.heard == []
    kept = scene.outbox.kept[0]
    assert (kept.client_id, kept.time_zone, kept.outcome) == ("anna", "Europe/Berlin", Outcome.ANSWERED)
    assert kept.received_at <= kept.answered_at
    scene.line.reads.set()
    await scene.line.replies(1)
    await goodbye(scene)


async def test_the_window_bounds_what_is_on_the_way() -> None:
    scene = await open_scene(changed=limits(window=3))
    for _ in range(6):
        scene.line.voice(b"10")
    await asyncio.sleep(1)
    assert scene.media.working == 3
    assert scene.line.unread == 2  # one frame is in hand, waiting for a slot
    await scene.line.replies(6)
    await goodbye(scene)


async def test_a_slow_reader_holds_its_window_but_no_message_permits() -> None:
    scene = await open_scene(changed=limits(window=3, send_seconds=1000))
    scene.line.reads.clear()
    for text in "abcde":
        scene.line.text(text)
    await asyncio.sleep(1)
    assert await held(scene) == 0
    assert len(scene.outbox.kept) == 3
    scene.line.reads.set()
    assert texts(await scene.line.replies(5)) == [f"you said {text}" for text in "abcde"]
    await goodbye(scene)


async def test_a_reader_that_takes_nothing_is_closed_with_4002() -> None:
    scene = await open_scene(changed=limits(send_seconds=30))
    scene.line.reads.clear()
    scene.line.text("hello")
    end = await scene.running
    assert end.code == 4002
    assert scene.line.closed is not None
    await nothing_left(scene)


async def test_no_permit_in_time_is_answered_busy_and_not_kept() -> None:
    scene = await open_scene(capacity=1, changed=limits(message_wait_seconds=5))
    scene.line.voice(b"8")
    scene.line.text("late")
    voice, busy = await scene.line.replies(2)
    assert voice.kind is ResponseKind.VOICE
    assert (busy.kind, busy.error_code) == (ResponseKind.ERROR, "busy")
    assert len(scene.outbox.kept) == 1
    scene.line.text("again")
    assert (await scene.line.replies(3))[2].text == "you said again"
    await goodbye(scene)


@pytest.mark.parametrize(
    ("refusal", "code"), [(PoolLearning(11.2), "limits_learning"), (PoolUnavailable(), "limits_unavailable")]
)
async def test_a_message_is_told_the_same_of_the_limits_as_a_connection(
    monkeypatch: pytest.MonkeyPatch, refusal: PermitError, code: str
) -> None:
    scene = await open_scene()

    monkeypatch.setattr(scene.messages, "request", partial(refused, refusal))
    scene.line.text("hello")
    (reply,) = await scene.line.replies(1)
    assert (reply.kind, reply.error_code) == (ResponseKind.ERROR, code)
    await goodbye(scene)


async def test_a_busy_message_does_not_let_later_turns_overtake_earlier_ones() -> None:
    scene = await open_scene(capacity=2, changed=limits(message_wait_seconds=3))
    scene.line.voice(b"4")
    scene.line.voice(b"9")
    scene.line.text("busy")
    await asyncio.sleep(5)
    scene.line.text("last")
    replies = await scene.line.replies(4)
    assert replies[2].error_code == "busy"
    assert scene.bot.turns == ["voice", "voice", "last"]
    await goodbye(scene)


async def test_permits_of_work_that_cannot_be_stopped_are_kept_until_it_ends() -> None:
    scene = await open_scene()
    scene.line.voice(b"20")
    await asyncio.sleep(1)
    scene.line.leave()
    await asyncio.sleep(1)
    assert (await scene.connections.state()).held == 0, "the place of a client that left is free at once"
    assert await held(scene) == 1, "its message is still being worked on"
    await scene.running
    assert scene.outbox.kept == []
    await nothing_left(scene)


async def test_texts_that_wait_behind_a_voice_note_end_with_the_connection() -> None:
    scene = await open_scene(capacity=2, changed=limits(message_wait_seconds=100))
    scene.line.voice(b"20")
    scene.line.text("prepared, and waits for its turn")
    scene.line.text("waits for a permit")
    await asyncio.sleep(1)
    assert await held(scene) == 2
    scene.line.leave()
    await asyncio.sleep(1)
    assert await held(scene) == 1, "only the voice note is still being worked on"
    await scene.running
    assert (scene.bot.turns, scene.outbox.kept) == ([], [])
    await nothing_left(scene)


@pytest.mark.parametrize(("said", "seconds"), [([], 60), (["hello"], 600)])
async def test_silence_closes_with_4000(said: list[str], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene()
    began = loop.time()
    for text in said:
        scene.line.text(text)
    end = await scene.running
    assert end.code == 4000
    assert loop.time() - began == pytest.approx(seconds, abs=0.1)
    assert scene.line.closed == (4000, "no message for too long")
    await nothing_left(scene)


async def test_a_client_whose_message_is_arriving_is_not_silent() -> None:
    scene = await open_scene()
    scene.line.sends_slowly = True
    await asyncio.sleep(150)
    assert scene.line.closed is None
    scene.line.sends_slowly = False
    assert (await scene.running).code == 4000
    await nothing_left(scene)


async def test_unreadable_frames_do_not_count_as_a_first_message() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene()
    began = loop.time()
    await asyncio.sleep(30)
    scene.line.say(b"\x09?")
    assert (await scene.running).code == 4000
    assert loop.time() - began == pytest.approx(90, abs=0.1)


async def test_a_client_that_waits_for_us_is_not_silent() -> None:
    scene = await open_scene(changed=limits(idle_seconds=5, first_message_seconds=5))
    scene.line.voice(b"100")
    assert (await scene.line.replies(1))[0].text == "you said voice"
    assert (await scene.running).code == 4000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "frame_empty"),
        (b"\x07body", "frame_kind_unknown"),
        (b"\x00", "frame_body_empty"),
        (b"\x00\xff\xfe", "frame_text_invalid"),
        (b"\x00" + b"x" * 1024, "frame_too_large"),
        (None, "not_binary"),
    ],
)
async def test_an_unreadable_frame_is_answered_in_its_place_and_the_connection_goes_on(
    frame: bytes | None, code: str
) -> None:
    scene = await open_scene()
    scene.line.voice(b"3")
    scene.line.say(frame)
    scene.line.text("still here")
    voice, error, text = await scene.line.replies(3)
    assert voice.text == "you said voice"
    assert error.error_code == code
    assert text.text == "you said still here"
    assert len(scene.outbox.kept) == 2
    await goodbye(scene)


@pytest.mark.parametrize("text", ["x" * 101, "\U0001f600" * 26], ids=["letters", "characters of four bytes"])
async def test_a_text_over_the_limit_is_refused_in_its_place_and_the_connection_goes_on(text: str) -> None:
    scene = await open_scene(changed=limits(max_text_bytes=100, max_unreadable=1), capacity=1)
    scene.line.voice(b"3")
    scene.line.text(text)
    scene.line.text("x" * 100)
    voice, error, fits = await scene.line.replies(3)
    assert (voice.text, fits.text) == ("you said voice", f"you said {'x' * 100}")
    assert (error.error_code, error.error_message) == (
        "text_too_long",
        f"this text has {len(text.encode())} bytes; 100 is the most",
    )
    assert scene.bot.turns == ["voice", "x" * 100]
    assert len(scene.outbox.kept) == 2
    refused = scene.metrics.registry.get_sample_value("chatbot_messages_refused_total", {"code": "text_too_long"})
    assert refused == 1
    await goodbye(scene)


async def test_the_limit_of_texts_is_none_of_media() -> None:
    scene = await open_scene(changed=limits(max_text_bytes=1))
    scene.line.voice(b"0.5")
    assert (await scene.line.replies(1))[0].text == "you said voice"
    await goodbye(scene)


async def test_unreadable_frames_in_a_row_close_with_4001_after_the_last_answer() -> None:
    scene = await open_scene(changed=limits(max_unreadable=3))
    scene.line.say(b"")
    scene.line.say(b"")
    scene.line.text("fine")
    for _ in range(5):
        scene.line.say(b"")
    assert (await scene.running).code == 4001
    assert [reply.kind for reply in scene.line.heard] == [ResponseKind.ERROR] * 2 + [ResponseKind.TEXT] + [
        ResponseKind.ERROR
    ] * 3
    await nothing_left(scene)


async def test_a_drain_answers_what_was_taken_and_closes_with_1012() -> None:
    scene = await open_scene()
    scene.line.voice(b"7")
    scene.line.text("b")
    await asyncio.sleep(1)
    scene.connection.drain()
    await asyncio.sleep(1)
    scene.line.text("too late")
    end = await scene.running
    assert end.code == 1012
    assert texts(scene.line.heard) == ["you said voice", "you said b"]
    await nothing_left(scene)


async def test_a_drain_is_not_held_up_by_a_frame_that_waits_for_its_slot() -> None:
    scene = await open_scene(changed=limits(window=1, max_bytes=1024))
    scene.line.voice(b"7")
    scene.line.text("in hand")
    await asyncio.sleep(1)
    scene.connection.drain()
    assert (await scene.running).code == 1012
    assert texts(scene.line.heard) == ["you said voice"]
    await nothing_left(scene)


async def test_a_cut_closes_with_1012_at_once() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene()
    scene.line.voice(b"50")
    await asyncio.sleep(1)
    began = loop.time()
    scene.connection.abort()
    await scene.line.is_closed.wait()
    assert scene.line.closed == (1012, "this server is restarting")
    assert loop.time() == began
    await scene.running
    await nothing_left(scene)


async def test_a_lost_connection_permit_closes_with_1013() -> None:
    scene = await open_scene()
    scene.line.voice(b"5")
    await asyncio.sleep(1)
    scene.permit.lose.set()
    assert (await scene.running).code == 1013
    assert scene.line.closed is not None
    assert scene.line.closed[0] == 1013
    await nothing_left(scene)


async def test_an_expired_token_closes_with_4003() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    scene = await open_scene(expires_at=START + timedelta(seconds=40))
    assert (await scene.running).code == 4003
    assert loop.time() - began == pytest.approx(40, abs=0.1)


async def test_local_time_is_computed_for_each_message() -> None:
    # Berlin leaves summer time at 01:00 UTC: the second message is one hour later and at the same local time.
    moments = iter(datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 0, 0, 1, 1, 1))
    scene = await open_scene(now=lambda: next(moments))
    scene.line.text("a")
    await scene.line.replies(1)
    scene.line.text("b")
    await scene.line.replies(2)
    assert [f"{moment:%H:%M%z}" for moment in scene.bot.local_times] == ["02:30+0200", "02:30+0100"]
    scene.line.leave()
    await scene.running


async def test_a_kind_outside_its_hours_is_refused_and_not_kept() -> None:
    scene = await open_scene(hours="09:00-10:00")  # it is 14:00 in Berlin
    scene.line.text("hello")
    (reply,) = await scene.line.replies(1)
    assert reply.error_code == "outside_hours"
    assert "09:00-10:00" in reply.error_message
    assert scene.outbox.kept == []
    await goodbye(scene)


async def test_a_bug_of_the_bot_is_answered_kept_as_failed_and_survived() -> None:
    scene = await open_scene()
    scene.line.text("crash")
    scene.line.text("hello")
    error, reply = await scene.line.replies(2)
    assert error.error_code == "internal"
    assert reply.text == "you said hello"
    assert [kept.outcome for kept in scene.outbox.kept] == [Outcome.FAILED, Outcome.ANSWERED]
    await goodbye(scene)


@pytest.mark.parametrize(("code", "kept"), [("media_unreadable", 0), ("media_too_long", 0), ("media_failed", 1)])
async def test_unusable_media_is_refused_and_our_failure_is_kept(code: str, kept: int) -> None:
    scene = await open_scene()
    scene.media.fail = MediaError(code, "why")
    scene.line.voice(b"1")
    (reply,) = await scene.line.replies(1)
    assert reply.error_code == code
    assert [exchange.outcome for exchange in scene.outbox.kept] == [Outcome.FAILED] * kept
    await goodbye(scene)


async def test_speech_that_fails_is_told_as_what_it_is() -> None:
    scene = await open_scene(typing_seconds=3)
    scene.media.mute = MediaError("media_failed", "no voice today")
    scene.line.voice(b"1")
    (reply,) = await scene.line.replies(1)
    assert (reply.error_code, reply.error_message) == ("media_failed", "no voice today")
    await goodbye(scene)


async def test_an_answer_that_cannot_be_kept_is_not_given() -> None:
    scene = await open_scene()
    scene.outbox.trouble = OutboxFull("the outbox is full")
    scene.line.text("hello")
    (reply,) = await scene.line.replies(1)
    assert (reply.kind, reply.error_code) == (ResponseKind.ERROR, "busy")
    scene.outbox.trouble = None
    scene.line.text("again")
    assert (await scene.line.replies(2))[1].text == "you said again"
    await goodbye(scene)


async def test_reading_stops_at_the_byte_budget_of_the_connection() -> None:
    scene = await open_scene(changed=limits(max_bytes=1024, max_frame_bytes=1024, send_seconds=1000))
    scene.line.reads.clear()
    for _ in range(5):
        scene.line.text("x" * 400)
    await asyncio.sleep(1)
    assert scene.line.unread == 2  # two are held, one is in hand
    scene.line.reads.set()
    await scene.line.replies(5)
    await goodbye(scene)


async def test_the_byte_budget_of_the_pod_is_shared_by_its_conversations() -> None:
    pod_bytes = FairByteBudget(1000, text_bytes=0)
    first, second = await open_scene(pod_bytes=pod_bytes), await open_scene(pod_bytes=pod_bytes)
    first.line.reads.clear()
    first.line.text("x" * 400)
    await asyncio.sleep(1)
    second.line.text("y" * 400)
    await asyncio.sleep(1)
    assert second.bot.turns == []
    assert pod_bytes.waiting == 1
    first.line.reads.set()
    await first.line.replies(1)
    await second.line.replies(1)
    first.line.leave()
    await first.running
    await goodbye(second)


async def test_a_client_with_many_connections_leaves_bytes_to_another() -> None:
    pod_bytes = FairByteBudget(1000, text_bytes=100)
    greedy = [await open_scene(pod_bytes=pod_bytes, client_id="greedy") for _ in range(5)]
    for scene in greedy:
        scene.line.video(b"1000".ljust(300))
    await asyncio.sleep(1)
    ben = await open_scene(pod_bytes=pod_bytes, client_id="ben")
    ben.line.video(b"1".ljust(400))
    await ben.line.replies(1)
    assert not any(scene.line.heard for scene in greedy)
    for scene in greedy:
        scene.line.leave()
        await scene.running
    await goodbye(ben)


async def test_a_text_waits_for_nobodys_video() -> None:
    pod_bytes = FairByteBudget(1000, text_bytes=100)
    clients = [await open_scene(pod_bytes=pod_bytes, client_id=f"client-{number}") for number in range(20)]
    for scene in clients:
        scene.line.video(b"1000".ljust(300))
    await asyncio.sleep(1)
    assert pod_bytes.waiting > 0
    anna = await open_scene(pod_bytes=pod_bytes)
    anna.line.text("hello")
    await anna.line.replies(1)
    assert not any(scene.line.heard for scene in clients)
    for scene in clients:
        scene.line.leave()
        await scene.running
    await goodbye(anna)


async def test_a_reply_that_waits_for_its_reader_holds_no_request() -> None:
    size = 1_000_000
    roomy = limits(max_frame_bytes=2 * size, max_bytes=20 * size, send_seconds=1000)
    scene = await open_scene(changed=roomy, pod_bytes=FairByteBudget(100 * size, text_bytes=0))
    scene.line.reads.clear()
    with traced() as kept_bytes:
        for _ in range(8):
            scene.line.video(b"1".ljust(size))
        await asyncio.sleep(10)
        assert len(scene.outbox.kept) == 8
        scene.outbox.kept.clear()
        assert scene.pod_bytes.used < size
        assert kept_bytes() < size
    scene.line.reads.set()
    await scene.line.replies(8)
    await goodbye(scene)


async def test_a_connection_that_is_idle_holds_no_message() -> None:
    size = 1_000_000
    scene = await open_scene(changed=limits(max_frame_bytes=2 * size, max_bytes=20 * size))
    with traced() as kept_bytes:
        scene.line.video(b"1".ljust(size))
        await scene.line.replies(1)
        scene.outbox.kept.clear()
        await asyncio.sleep(1)
        assert kept_bytes() < size / 2
    await goodbye(scene)


async def test_messages_that_were_under_way_at_the_end_are_not_kept_in_memory() -> None:
    size = 1_000_000
    roomy = limits(max_frame_bytes=2 * size, max_bytes=20 * size)
    with traced() as kept_bytes:
        for _ in range(3):
            scene = await open_scene(changed=roomy, pod_bytes=FairByteBudget(100 * size, text_bytes=0))
            for _ in range(8):
                scene.line.video(b"10".ljust(size))
            await asyncio.sleep(1)
            await goodbye(scene)
            del scene
        gc.collect()
        assert kept_bytes() < size


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yield a function that says how many bytes were allocated since, and are still held."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


async def test_typing_delays_run_side_by_side() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene(typing_seconds=4)
    began = loop.time()
    for text in "abcd":
        scene.line.text(text)
    await scene.line.replies(4)
    assert loop.time() - began == pytest.approx(4, abs=0.1)
    await goodbye(scene)


async def test_a_spoken_reply_is_typed_as_well_and_one_that_fails_is_not() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_scene(typing_seconds=5)
    began = loop.time()
    scene.line.voice(b"1")
    await scene.line.replies(1)
    assert loop.time() - began == pytest.approx(6, abs=0.1)
    scene.media.mute = MediaError("media_failed", "the synthesizer failed")
    scene.line.voice(b"1")
    await scene.line.replies(2)
    assert loop.time() - began == pytest.approx(7, abs=0.1)
    await goodbye(scene)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_goodbye_as_the_bot_begins_lets_go_of_its_reply() -> None:
    asked: list[Coroutine[Any, Any, str]] = []

    class Begun:
        def reply(self, turn: Turn, memory: Memory) -> Awaitable[str]:
            del memory
            scene.line.leave()  # is heard before the task that awaits the reply has its first turn
            asked.append(self._reply(turn))
            return asked[0]

        async def _reply(self, turn: Turn) -> str:
            return turn.text

    scene = await open_scene(replies=Begun())
    scene.line.text("hello")
    await scene.running
    await nothing_left(scene)
    assert [getcoroutinestate(reply) for reply in asked] == [CORO_CLOSED]
    assert scene.outbox.kept == []


async def test_a_goodbye_in_the_middle_gives_everything_back() -> None:
    pool = MemoryPool("messages", capacity=2, max_waiting=100)
    scene = await open_scene(messages=pool, typing_seconds=5)
    for text in "abcdef":
        scene.line.text(text)
    await asyncio.sleep(1)
    assert await held(scene) == 2
    scene.line.leave(1001)
    end = await scene.running
    assert (end.code, end.by_peer) == (1001, True)
    assert scene.line.closed is None
    await nothing_left(scene)
    assert (await pool.state()).waiting == 0
