"""Bad input gets its clear answer from the real system, and the system is unharmed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.watching import eventually, metric
from frameproto import RequestKind
from tests.e2e.talking import VIDEO, VOICE, ask, reply, visit

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)


@pytest.fixture(scope="module")
def strict(stores: StoreAddresses, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack with tight limits."""
    chat = {
        "CHAT_TIME_ZONES": "Europe/*,UTC",
        "CHAT_MAX_FRAME_BYTES": "1MiB",
        "CHAT_FIRST_MESSAGE_SECONDS": 2,
        "CHAT_SEND_SECONDS": 2,
        "CHAT_PING_SECONDS": 2,
        "CHAT_PONG_SECONDS": 2,
    }
    with open_stack(tmp_path_factory.mktemp("strict"), stores, name="strict", pods=1, chat=chat) as running:
        yield running


@pytest.fixture(autouse=True)
async def unharmed(strict: Stack) -> AsyncIterator[None]:
    """After each test the service answers, holds nothing for those who are gone, and has met no bug."""
    yield
    async with visit(strict, "witness") as witness:
        assert (await ask(witness, RequestKind.TEXT, b"hello")).text
    port = strict.chat[0].ports["chat-metrics"]

    async def all_gone() -> bool:
        held = await metric(port, "chatbot_permits_held")
        return (held, await metric(port, "chatbot_held_bytes")) == (0, 0)

    await eventually(all_gone, "everything held for the test to be free")
    bugs = [event for event in strict.chat[0].events() if event.get("level") in {"error", "critical"}]
    assert bugs == []


def address(stack: Stack, query: str) -> str:
    return stack.chat_url("x").partition("?")[0] + "?" + query


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("timeZone=UTC", "client_id_missing"),
        ("clientId=..&timeZone=UTC", "client_id_malformed"),
        ("clientId=%2e%2e%2fetc&timeZone=UTC", "client_id_malformed"),
        ("clientId=%F0%9F%8E%89&timeZone=UTC", "client_id_malformed"),
        ("clientId=anna", "time_zone_missing"),
        ("clientId=anna&timeZone=Europe/Atlantis", "time_zone_unknown"),
        ("clientId=anna&timeZone=localtime", "time_zone_unknown"),
        ("clientId=anna&timeZone=Asia/Tokyo", "time_zone_not_served"),
    ],
)
async def test_bad_parameters_get_400_before_the_upgrade(strict: Stack, query: str, code: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(strict, query)):
            pass
    problem = json.loads(refused.value.response.body or b"")
    assert (refused.value.response.status_code, problem["code"]) == (400, code)


async def test_a_foreign_origin_gets_403(strict: Stack) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(strict.chat_url("anna"), additional_headers={"Origin": "https://evil.example"}):
            pass
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body or b"")["code"] == "origin_not_allowed"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("a text message", "not_binary"),
        (b"", "frame_empty"),
        (b"\x63hello", "frame_kind_unknown"),
        (b"\x00", "frame_body_empty"),
        (b"\x00\xc3\x28", "frame_text_invalid"),
        (b"\x01" + PNG, "media_unreadable"),
        (b"\x01" + VIDEO, "media_unreadable"),
        (b"\x02" + VOICE, "media_unreadable"),
        (b"\x02" + VIDEO[: len(VIDEO) // 2], "media_unreadable"),
        (b"\x02" + VIDEO[:-20], "media_unreadable"),
    ],
)
async def test_bad_frames_get_an_error_frame_and_the_conversation_goes_on(
    strict: Stack, frame: bytes | str, code: str
) -> None:
    async with visit(strict, "anna") as anna:
        await anna.send(frame)
        answer = await reply(anna)
        assert answer.error_code == code
        assert len(answer.error_message) > 10
        assert (await ask(anna, RequestKind.TEXT, b"hello")).text


async def test_unreadable_frames_in_a_row_end_with_4001(strict: Stack) -> None:
    async with visit(strict, "anna") as anna:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20):
                await anna.send(b"")
        assert await closed(anna) == 4001


async def test_a_frame_over_the_limit_ends_with_1009(strict: Stack) -> None:
    async with visit(strict, "anna") as anna:
        with contextlib.suppress(ConnectionClosed):
            await anna.send(b"\x01" + bytes(3 * 1024 * 1024))
        assert await closed(anna) == 1009


async def test_a_client_that_never_sends_ends_with_4000(strict: Stack) -> None:
    async with visit(strict, "mute") as mute:
        assert await closed(mute) == 4000


async def test_a_client_that_never_reads_loses_its_place(strict: Stack) -> None:
    async with connect(strict.chat_url("deaf"), compression=None, max_queue=1, ping_interval=None) as deaf:
        transport = deaf.transport
        transport.pause_reading()
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(1):
                for _ in range(10):
                    await deaf.send(b"\x02" + VIDEO)

        def deaf_is_out() -> bool:
            closings = [event for event in strict.chat[0].events() if event.get("event") == "connection.closed"]
            return any(event.get("client_id") == "deaf" for event in closings)

        await eventually(deaf_is_out, "the deaf client to be closed")
        transport.resume_reading()


async def closed(chat: Any) -> int | None:
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionClosed):
            async for _ in chat:
                pass
        await chat.wait_closed()
    return chat.close_code  # type: ignore[no-any-return]
