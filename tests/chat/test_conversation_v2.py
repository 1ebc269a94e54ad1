"""What `chatbot.v2` adds to a conversation: ids, pieces, statuses and cancels."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import pytest

from botkit import Memory, Turn
from chat_service.dialect import V2
from frameproto import Request, RequestKind, Response, ResponseKind, decode_response
from frameproto.kinds import Outcome
from frameproto.v2 import Progress
from tests.chat.conversation_parts import Scene, limits, open_scene, texts

pytestmark = pytest.mark.looptime

open_v2 = partial(open_scene, dialect=V2)


@dataclass
class Streamer:
    """A bot that says a message word by word, a second for each."""

    memories: list[list[str]] = field(default_factory=list)
    stopped: int = 0

    async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
        self.memories.append([said.text for said in memory])
        try:
            for word in (turn.text or turn.kind.name.lower()).split():
                await asyncio.sleep(1)
                if word == "crash":
                    raise RuntimeError("a bug in the bot")
                yield f"{word} "
        except asyncio.CancelledError:
            self.stopped += 1
            raise


async def goodbye(scene: Scene) -> None:
    scene.line.leave()
    await scene.running
    assert (await scene.messages.state()).held == 0
    assert scene.pod_bytes.used == 0


async def test_a_text_that_is_answered_at_once_gets_its_response_and_nothing_else() -> None:
    scene = await open_v2()
    scene.bot.replies_at_once = True
    first, second = scene.line.text("one"), scene.line.text("two")
    await scene.line.replies(2)
    assert [frame.message_id for frame in scene.line.told] == [first, second]
    assert scene.line.told_of(second) == [Response(ResponseKind.TEXT, "you said two")]
    kept = scene.outbox.kept[1]
    assert (bytes(kept.request), decode_response(kept.response).text) == (b"\x00two", "you said two")
    assert (kept.message_id, kept.attempt) == (second, scene.permit.ticket)
    assert scene.outbox.kept[0].attempt == scene.permit.ticket > 0
    await goodbye(scene)


async def test_a_reply_grows_and_the_response_holds_the_whole() -> None:
    scene = await open_v2(replies=Streamer())
    message = scene.line.text("one two three")
    await scene.line.replies(1)
    *before, response = scene.line.told_of(message)
    assert before == [Progress.THINKING, "one ", "two ", "three "]
    assert response == Response(ResponseKind.TEXT, "one two three ")
    assert scene.count("message_pieces") == 3
    assert scene.metrics.registry.get_sample_value("chatbot_message_first_piece_seconds_sum") == pytest.approx(1)
    assert len(scene.outbox.kept) == 1
    await goodbye(scene)


async def test_a_voice_note_is_listened_to_thought_about_and_answered_by_voice() -> None:
    scene = await open_v2(replies=Streamer())
    message = scene.line.voice(b"3")
    await asyncio.sleep(1)
    in_process = [scene.metrics.registry.get_sample_value("chatbot_messages_in_process", {"kind": "voice"})]
    await scene.line.replies(1)
    in_process.append(scene.metrics.registry.get_sample_value("chatbot_messages_in_process", {"kind": "voice"}))
    assert in_process == [1, 0]
    *before, response = scene.line.told_of(message)
    assert before == [Progress.LISTENING, Progress.THINKING, "voice ", Progress.SPEAKING]
    assert response == Response(ResponseKind.VOICE, "voice ", b"mp3 of voice ")
    await goodbye(scene)


async def test_a_message_is_told_to_wait_when_there_is_no_place_at_once() -> None:
    scene = await open_v2(capacity=1)
    first, second = scene.line.voice(b"2"), scene.line.text("late")
    await scene.line.replies(2)
    assert Progress.WAITING not in scene.line.told_of(first)
    assert scene.line.told_of(second)[0] is Progress.WAITING
    await goodbye(scene)


@pytest.mark.parametrize(("seconds", "is_told"), [(b"0.3", False), (b"0.6", True)])
async def test_a_message_that_waits_for_a_moment_only_is_not_told(seconds: bytes, *, is_told: bool) -> None:
    """Those that wait are looked for four times a second, and told when they are seen twice."""
    scene = await open_scene(dialect=V2, capacity=1)
    scene.line.voice(seconds)
    second = scene.line.text("late")
    await scene.line.replies(2)
    assert (Progress.WAITING in scene.line.told_of(second)) is is_told
    await goodbye(scene)


async def test_v1_is_told_nothing_on_the_way() -> None:
    scene = await open_scene(replies=Streamer(), capacity=1)
    scene.line.voice(b"2")
    scene.line.text("one two")
    assert texts(await scene.line.replies(2)) == ["voice ", "one two "]  # anything else would not decode
    await goodbye(scene)


async def test_a_bot_that_fails_in_the_middle_gets_an_error_after_its_pieces() -> None:
    scene = await open_v2(replies=Streamer())
    message = scene.line.text("one crash")
    (response,) = await scene.line.replies(1)
    assert scene.line.told_of(message) == [Progress.THINKING, "one ", response]
    assert response.error_code == "bot_failed"
    assert [kept.outcome for kept in scene.outbox.kept] == [Outcome.FAILED]
    await goodbye(scene)


async def test_a_cancel_stops_the_bot_and_what_was_shown_is_kept() -> None:
    bot = Streamer()
    scene = await open_v2(replies=bot)
    message = scene.line.text("one two three four")
    await asyncio.sleep(2.5)
    scene.line.cancel(message)
    (response,) = await scene.line.replies(1)
    assert response.error_code == "cancelled"
    assert (bot.stopped, (await scene.messages.state()).held) == (1, 0)
    (kept,) = scene.outbox.kept
    assert decode_response(kept.response) == Response(ResponseKind.TEXT, "one two ")
    assert (kept.message_id, kept.outcome) == (message, Outcome.ANSWERED)
    assert scene.count("messages_refused", code="cancelled") == 1
    scene.line.text("next")
    await scene.line.replies(2)
    assert bot.memories[1] == ["one two three four", "one two"]
    await goodbye(scene)


async def test_a_cancel_before_anything_was_shown_keeps_nothing() -> None:
    bot = Streamer()
    scene = await open_v2(replies=bot)
    message = scene.line.text("one two")
    await asyncio.sleep(0.5)
    scene.line.cancel(message)
    scene.line.text("next")
    cancelled, following = await scene.line.replies(2)
    assert (cancelled.error_code, following.text) == ("cancelled", "next ")
    assert bot.memories == [[], []]
    assert [bytes(kept.request) for kept in scene.outbox.kept] == [b"\x00next"]
    await goodbye(scene)


async def test_a_cancelled_voice_note_holds_its_permit_until_the_worker_has_ended() -> None:
    loop = asyncio.get_running_loop()
    scene = await open_v2()
    message = scene.line.voice(b"10")
    await asyncio.sleep(1)
    scene.line.cancel(message)
    await asyncio.sleep(1)
    assert (scene.line.heard, (await scene.messages.state()).held) == ([], 1)
    (response,) = await scene.line.replies(1)
    assert response.error_code == "cancelled"
    assert loop.time() == pytest.approx(10, abs=0.1)
    assert (await scene.messages.state()).held == 0
    await goodbye(scene)


async def test_a_message_that_waits_for_a_permit_is_cancelled_at_once() -> None:
    scene = await open_v2(capacity=1, changed=limits(message_wait_seconds=1000))
    await asyncio.sleep(1)
    deadlines = len(scene.pod.deadlines)
    scene.line.voice(b"5")
    waiting = scene.line.text("late")
    await asyncio.sleep(1)
    scene.line.cancel(waiting)
    _, cancelled = await scene.line.replies(2)
    assert cancelled.error_code == "cancelled"
    assert (await scene.messages.state()).waiting == 0
    await asyncio.sleep(1)
    assert len(scene.pod.deadlines) == deadlines, "nobody is looked for any more"
    await goodbye(scene)


async def test_messages_that_wait_for_their_turn_are_cancelled_and_the_others_go_on() -> None:
    scene = await open_v2()
    scene.line.voice(b"5")
    text, voice, last = scene.line.text("text"), scene.line.voice(b"1"), scene.line.text("last")
    await asyncio.sleep(2)
    scene.line.cancel(text)
    scene.line.cancel(voice)
    replies = await scene.line.replies(4)
    assert [reply.text if reply.kind is not ResponseKind.ERROR else reply.error_code for reply in replies] == [
        "you said voice",
        "cancelled",
        "cancelled",
        "you said last",
    ]
    assert scene.bot.turns == ["voice", "last"]
    assert scene.line.told[-1].message_id == last
    await goodbye(scene)


async def test_cancels_get_through_while_the_window_is_full() -> None:
    scene = await open_v2(changed=limits(window=3), replies=Streamer())
    messages = [scene.line.text(f"{number} {'word ' * 100}") for number in range(3)]
    await asyncio.sleep(1)
    for message in messages:
        scene.line.cancel(message)
    replies = await scene.line.replies(3)
    assert {reply.error_code for reply in replies} == {"cancelled"}
    await goodbye(scene)


async def test_cancels_of_other_messages_are_passed_over() -> None:
    scene = await open_v2()
    first = scene.line.text("one")
    await scene.line.replies(1)
    scene.line.cancel(first)
    scene.line.cancel(uuid4())
    scene.line.text("two")
    assert texts(await scene.line.replies(2)) == ["you said one", "you said two"]
    await goodbye(scene)


async def test_a_client_that_leaves_after_a_cancel_leaves_nothing_behind() -> None:
    scene = await open_v2()
    message = scene.line.voice(b"10")
    await asyncio.sleep(1)
    scene.line.cancel(message)
    await asyncio.sleep(1)
    await goodbye(scene)


async def test_an_id_under_way_is_refused_and_its_message_goes_on() -> None:
    scene = await open_v2()
    message = scene.line.voice(b"3")
    scene.line.request(Request(RequestKind.TEXT, b"another"), message)
    voice, refusal = await scene.line.replies(2)
    assert (voice.text, refusal.error_code) == ("you said voice", "message_id_in_use")
    scene.line.request(Request(RequestKind.TEXT, b"another"), message)
    assert (await scene.line.replies(3))[2].text == "you said another"
    await goodbye(scene)


async def test_a_slow_reader_does_not_make_memory_grow() -> None:
    class Talker:
        async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
            del turn, memory
            for _ in range(2000):
                await asyncio.sleep(0)
                yield "0123456789"

    scene = await open_v2(replies=Talker(), changed=limits(send_seconds=1000))
    scene.line.reads.clear()
    message = scene.line.text("talk")
    await asyncio.sleep(1)
    assert len(scene.outbox.kept) == 1
    scene.line.reads.set()
    (response,) = await scene.line.replies(1)
    assert len(response.text) == 8000
    assert len(scene.line.told_of(message)) == 2, "one frame was on its way, and the response followed it"
    await goodbye(scene)


async def test_no_more_is_shown_than_a_reply_may_have() -> None:
    class Talker:
        async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
            del turn, memory
            for _ in range(2000):
                await asyncio.sleep(0)
                yield "0123456789"

    scene = await open_v2(replies=Talker())
    message = scene.line.text("talk")
    (response,) = await scene.line.replies(1)
    shown = "".join(piece for piece in scene.line.told_of(message) if isinstance(piece, str))
    assert len(shown) == 8000
    assert response.text == shown[:-1] + "…"
    await goodbye(scene)


async def test_a_drain_reads_no_cancels_any_more() -> None:
    scene = await open_v2(replies=Streamer())
    message = scene.line.text("one two three")
    await asyncio.sleep(1.5)
    scene.connection.drain()
    scene.line.cancel(message)
    end = await scene.running
    assert (end.code, texts(scene.line.heard)) == (1012, ["one two three "])
