"""Messages that are sent again after a connection broke: answered once more only where no answer is found."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from botkit import Said, Speaker
from chat_service.dialect import V2
from chat_service.outbox import OutboxFull
from frameproto import Request, RequestKind, Response, ResponseKind, decode_response, encode_response
from permits.memory import MemoryPool
from tests.chat.conversation_parts import Scene, limits, open_scene, texts
from tests.chat.test_conversation_v2 import Streamer
from tests.permits.parts import opened

pytestmark = pytest.mark.looptime

open_v2 = partial(open_scene, dialect=V2)
HELLO = Request(RequestKind.TEXT, b"hello")
SOURCES = ("under_way", "outbox", "history", "turn")


@dataclass
class Archive:
    """A history that has these answers and these messages, and takes its time."""

    answers: dict[tuple[str, UUID], bytes] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    claims: list[tuple[str, UUID, int]] = field(default_factory=list)
    contexts: int = 0
    seconds: float = 0

    async def claim(self, client_id: str, message_id: UUID, attempt: int) -> bytes | None:
        self.claims.append((client_id, message_id, attempt))
        await asyncio.sleep(self.seconds)
        return self.answers.get((client_id, message_id))

    async def context(self, client_id: str, session_id: UUID) -> list[Said]:
        del client_id, session_id
        self.contexts += 1
        await asyncio.sleep(self.seconds)
        return self.said


async def reconnect(scene: Scene, **changed: object) -> Scene:
    """Another connection of the same client to the same pod."""
    return await open_v2(pod=scene.pod, connections=scene.connections, **changed)  # type: ignore[arg-type]


async def goodbye(*scenes: Scene) -> None:
    for scene in scenes:
        scene.line.leave()
        await scene.running
    assert len(scenes[0].pod.in_flight) == 0
    assert scenes[0].pod_bytes.used == 0


def sources(scene: Scene) -> dict[str, float]:
    counted = {source: scene.count("messages_again", source=source) for source in SOURCES}
    return {source: count for source, count in counted.items() if count}


async def test_an_answer_in_the_outbox_is_given_again_without_a_turn_and_kept_for_this_attempt() -> None:
    first = await open_v2()
    message = first.line.text("hello")
    await first.line.replies(1)
    second = await reconnect(first)
    second.line.request(HELLO, message, again=True)
    (response,) = await second.line.replies(1)
    assert response == Response(ResponseKind.TEXT, "you said hello")
    assert (first.bot.turns, sources(first)) == (["hello"], {"outbox": 1})
    earlier, later = first.outbox.kept
    assert (earlier.attempt, later.attempt) == (first.permit.ticket, second.permit.ticket)
    assert earlier.attempt < later.attempt
    assert earlier.id != later.id
    assert (later.message_id, bytes(later.request), later.response) == (message, b"\x00hello", earlier.response)
    await goodbye(first, second)


async def test_a_message_that_is_under_way_for_an_old_connection_is_waited_for() -> None:
    loop = asyncio.get_running_loop()
    first = await open_v2()
    message = first.line.voice(b"10")
    await asyncio.sleep(1)
    second = await reconnect(first)
    second.line.request(Request(RequestKind.VOICE, b"10"), message, again=True)
    (response,) = await second.line.replies(1)
    assert (response.text, bytes(response.voice)) == ("you said voice", b"mp3 of you said voice")
    assert loop.time() == pytest.approx(10, abs=0.2)
    assert (first.bot.turns, sources(first)) == (["voice"], {"under_way": 1})
    assert [kept.attempt for kept in first.outbox.kept] == [first.permit.ticket, second.permit.ticket]
    await goodbye(first, second)


async def test_when_the_old_connection_ends_the_message_is_answered_anew() -> None:
    first = await open_v2()
    message = first.line.voice(b"10")
    await asyncio.sleep(1)
    second = await reconnect(first)
    second.line.request(Request(RequestKind.VOICE, b"1"), message, again=True)
    await asyncio.sleep(1)
    first.line.leave()
    (response,) = await second.line.replies(1)
    assert (response.text, sources(first)) == ("you said voice", {"turn": 1})
    assert [kept.attempt for kept in first.outbox.kept] == [second.permit.ticket]
    await first.running
    await goodbye(second)


async def test_an_answer_in_history_is_claimed_for_the_attempt_and_not_kept_again() -> None:
    answer = encode_response(Response(ResponseKind.VOICE, "as before", b"mp3"))
    message, archive = uuid4(), Archive()
    archive.answers["anna", message] = answer
    scene = await open_v2(history=archive)
    scene.line.request(Request(RequestKind.VOICE, b"1"), message, again=True)
    (response,) = await scene.line.replies(1)
    assert response == decode_response(answer)
    assert archive.claims == [("anna", message, scene.permit.ticket)]
    assert (scene.outbox.kept, scene.bot.turns, sources(scene)) == ([], [], {"history": 1})
    assert (await scene.messages.state()).held == 0
    await goodbye(scene)


@pytest.mark.parametrize("history", [None, Archive()], ids=["no history", "history does not know it"])
@pytest.mark.parametrize("request_", [HELLO, Request(RequestKind.VOICE, b"2")], ids=["text", "voice"])
async def test_what_nobody_has_is_answered_anew(history: Archive | None, request_: Request) -> None:
    scene = await open_v2(history=history)
    message = scene.line.request(request_, again=True)
    (response,) = await scene.line.replies(1)
    assert response.kind is request_.kind.answered_by
    assert sources(scene) == {"turn": 1}
    assert [(kept.message_id, kept.attempt) for kept in scene.outbox.kept] == [(message, scene.permit.ticket)]
    await goodbye(scene)


@dataclass
class Parting(Archive):
    """A history that knows no answer, and has a client do something as it says so.

    The client is heard in the next turn of the event loop: the task that looked for an answer has ended by then, and
    nobody was told yet.
    """

    then: Callable[[], None] = lambda: None

    async def claim(self, client_id: str, message_id: UUID, attempt: int) -> bytes | None:
        del client_id, message_id, attempt
        self.then()
        return None


async def test_a_client_that_leaves_as_the_look_for_an_answer_ends_leaves_nothing_behind() -> None:
    archive = Parting()
    scene = await open_v2(history=archive, replies=Streamer())
    archive.then = scene.line.leave
    scene.line.text("one two three")
    await asyncio.sleep(1.5)
    scene.line.request(HELLO, again=True)
    async with asyncio.timeout(60):
        await scene.running
    assert (await scene.messages.state()).held == 0
    assert (len(scene.pod.in_flight), scene.pod_bytes.used) == (0, 0)


async def test_a_message_that_is_cancelled_as_the_look_for_an_answer_ends_holds_up_nobody() -> None:
    archive, message = Parting(), uuid4()
    scene = await open_v2(history=archive, replies=Streamer())
    archive.then = partial(scene.line.cancel, message)
    scene.line.text("one two three")
    await asyncio.sleep(1.5)
    scene.line.request(HELLO, message, again=True)
    await asyncio.sleep(0.1)
    scene.line.text("next")
    async with asyncio.timeout(60):
        first, cancelled, following = await scene.line.replies(3)
    assert (first.text, cancelled.error_code, following.text) == ("one two three ", "cancelled", "next ")
    await goodbye(scene)


async def test_a_new_message_is_not_looked_for() -> None:
    archive = Archive()
    scene = await open_v2(history=archive)
    scene.line.text("hello")
    await scene.line.replies(1)
    assert (archive.claims, sources(scene)) == ([], {})
    await goodbye(scene)


async def test_the_answer_to_another_clients_message_of_the_same_id_is_not_given() -> None:
    anna = await open_v2()
    message = anna.line.text("hello")
    await anna.line.replies(1)
    ben = await reconnect(anna, client_id="ben")
    ben.line.request(Request(RequestKind.TEXT, b"bonjour"), message, again=True)
    assert texts(await ben.line.replies(1)) == ["you said bonjour"]
    await goodbye(anna, ben)


async def test_several_attempts_wait_for_the_one_before() -> None:
    first = await open_v2()
    message = first.line.voice(b"10")
    await asyncio.sleep(1)
    others = [await reconnect(first) for _ in range(3)]
    for scene in others:
        scene.line.request(Request(RequestKind.VOICE, b"10"), message, again=True)
        await asyncio.sleep(1)
    for scene in others:
        assert texts(await scene.line.replies(1)) == ["you said voice"]
    assert (first.bot.turns, sources(first)) == (["voice"], {"under_way": 3})
    assert len({kept.id for kept in first.outbox.kept}) == 4
    await goodbye(first, *others)


async def test_a_message_that_waits_for_its_earlier_attempt_can_be_cancelled() -> None:
    first = await open_v2()
    message = first.line.voice(b"10")
    await asyncio.sleep(1)
    second = await reconnect(first)
    second.line.request(Request(RequestKind.VOICE, b"10"), message, again=True)
    await asyncio.sleep(1)
    second.line.cancel(message)
    (response,) = await second.line.replies(1)
    assert response.error_code == "cancelled"
    assert texts(await first.line.replies(1)) == ["you said voice"]
    await goodbye(first, second)


async def test_answers_that_were_found_keep_the_order_of_the_messages() -> None:
    archive = Archive(seconds=5)
    message = uuid4()
    archive.answers["anna", message] = encode_response(Response(ResponseKind.TEXT, "as before"))
    scene = await open_v2(history=archive)
    scene.line.request(HELLO, message, again=True)
    scene.line.text("next")
    assert texts(await scene.line.replies(2)) == ["as before", "you said next"]
    await goodbye(scene)


async def test_an_answer_that_cannot_be_kept_for_the_attempt_is_not_given() -> None:
    first = await open_v2()
    message = first.line.text("hello")
    await first.line.replies(1)
    second = await reconnect(first)
    first.outbox.trouble = OutboxFull("the outbox is full")
    second.line.request(HELLO, message, again=True)
    assert (await second.line.replies(1))[0].error_code == "busy"
    await goodbye(first, second)


async def test_an_old_connection_that_waits_for_a_permit_does_not_block_the_new_one() -> None:
    pool = await opened(MemoryPool("messages", capacity=50, max_waiting=10))
    first = await open_v2(capacity=1, changed=limits(message_wait_seconds=3))
    busy = await reconnect(first, client_id="ben")
    busy.line.voice(b"2")
    await asyncio.sleep(1)
    message = first.line.text("hello")
    await asyncio.sleep(0.1)
    second = await reconnect(first)
    second.line.request(HELLO, message, again=True)
    assert texts(await second.line.replies(1)) == ["you said hello"]
    assert (await pool.state()).held == 0
    await goodbye(first, second, busy)


async def test_a_session_that_goes_on_is_remembered_once_by_its_first_turn() -> None:
    said = [
        Said(Speaker.CLIENT, "my name is Anna", RequestKind.TEXT, "my name is Anna"),
        Said(Speaker.BOT, "Hello Anna", RequestKind.TEXT),
    ]
    bot, archive = Streamer(), Archive(said=said, seconds=1)
    scene = await open_v2(replies=bot, history=archive, goes_on=True)
    scene.line.text("one")
    scene.line.voice(b"1")
    await scene.line.replies(2)
    assert bot.memories == [
        ["my name is Anna", "Hello Anna"],
        ["my name is Anna", "Hello Anna", "one", "one"],
    ]
    assert archive.contexts == 1
    await goodbye(scene)


async def test_a_session_that_goes_on_by_a_voice_note_is_remembered_too() -> None:
    bot, archive = Streamer(), Archive(said=[Said(Speaker.BOT, "Hello Anna", RequestKind.TEXT)], seconds=1)
    scene = await open_v2(replies=bot, history=archive, goes_on=True)
    scene.line.voice(b"1")
    await scene.line.replies(1)
    assert (bot.memories, archive.contexts) == ([["Hello Anna"]], 1)
    await goodbye(scene)


@pytest.mark.parametrize("kind", ["text", "voice"])
async def test_a_session_that_begins_asks_nobody(kind: str) -> None:
    bot, archive = Streamer(), Archive()
    scene = await open_v2(replies=bot, history=archive)
    scene.line.text("one") if kind == "text" else scene.line.voice(b"1")
    await scene.line.replies(1)
    assert (archive.contexts, bot.memories) == (0, [[]])
    await goodbye(scene)


async def test_a_client_that_leaves_while_history_is_asked_leaves_nothing_behind() -> None:
    scene = await open_v2(history=Archive(seconds=timedelta(hours=1).total_seconds()), goes_on=True)
    scene.line.text("one")
    scene.line.request(HELLO, again=True)
    await asyncio.sleep(1)
    await goodbye(scene)
