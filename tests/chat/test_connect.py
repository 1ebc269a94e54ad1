import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chat_service.connection import Connection
from chat_service.connections import ConnectionRegistry
from frameproto import Request, RequestKind, decode_response, encode_request
from permits import Outlook, PoolLearning, Verdict
from servicekit.clock import utc_now
from servicekit.tokens import JwtAuth, mint
from tests.chat.conversation_parts import limits, refused
from tests.chat.server_parts import (
    RunningServer,
    denial,
    eventually,
    masked,
    open_server,
    raw_connection,
    text,
    until_closed,
    upgrade,
)
from tests.permits.parts import until
from tests.support.websocket_peer import Peer

WAIT_ID = "7b0a1f0e-53c8-4b7c-9d37-0f6f6a3f2f11"
SECRET = "a secret that is long enough for sha-256"


async def test_an_admitted_client_talks_over_the_subprotocol_and_learns_its_session() -> None:
    async with open_server() as server:
        async with server.visit(subprotocols=["chatbot.v1"]) as chat:
            assert chat.subprotocol == "chatbot.v1"
            assert chat.response is not None
            assert UUID(chat.response.headers["chatbot-session"]).version == 7
            await chat.send(text("hello"))
            assert decode_response(await chat.recv()).text == "you said hello"  # type: ignore[arg-type]
        await eventually(server, held=0)
        assert server.outbox.kept[0].session_id == UUID(chat.response.headers["chatbot-session"])


async def test_a_fault_as_a_connection_begins_ends_it_and_gives_its_permit_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin_and_fail(connection: Connection, *args: Any) -> None:
        begin(connection, *args)
        raise RuntimeError("a bug behind the handshake")

    begin = Connection.start
    monkeypatch.setattr(Connection, "start", begin_and_fail)
    async with open_server() as server:
        async with server.visit() as chat:
            assert await until_closed(chat) == 1011
        await eventually(server, held=0)
        async with asyncio.timeout(60):
            await server.registry.wait_until_empty()


async def test_a_fault_before_the_upgrade_gives_the_permit_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bug before the upgrade")

    monkeypatch.setattr(Connection, "__init__", fail)
    async with open_server() as server:
        with pytest.raises(InvalidStatus):
            await server.visit()
        assert (await server.connections.state()).high_water == 1
        await eventually(server, held=0)


async def test_a_client_that_has_left_before_the_accept_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr(WebSocket, "accept", gone)
    async with open_server() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade())
        await until(server.connections, lambda state: (state.high_water, state.held) == (1, 0))
        assert len(server.registry) == 0
        writer.close()
    assert [server.closed(code) for code in (1000, 1006, 1011, 1012)] == [0] * 4


async def test_a_session_may_be_continued() -> None:
    session = uuid4()
    async with open_server() as server, connect(server.url(f"clientId=anna&timeZone=UTC&sessionId={session}")) as chat:
        await chat.send(text("hello"))
        await chat.recv()
        assert server.outbox.kept[0].session_id == session


async def test_a_slash_at_the_end_changes_nothing() -> None:
    async with open_server() as server:
        query = "?clientId=anna&timeZone=UTC"
        async with connect(server.url().replace("/connect?", "/connect/?")) as chat:
            await chat.send(text("hello"))
            await chat.recv()
        async with aiohttp.ClientSession() as http:
            for path in ("/connect", "/connect/"):
                address = f"http://127.0.0.1:{server.port}{path}{query}"
                async with http.get(address, allow_redirects=False) as response:
                    assert (response.status, (await response.json())["code"]) == (426, "upgrade_required")


async def test_a_connection_ends_with_its_token() -> None:
    auth = JwtAuth([SECRET], audience="chatbot", leeway_seconds=0)
    soon = mint(SECRET, subject="anna", audience="chatbot", lifetime=timedelta(seconds=1), now=utc_now)
    bearer = {"Authorization": f"Bearer {soon}"}
    async with open_server(authenticator=auth) as server, connect(server.url(), additional_headers=bearer) as chat:
        assert await until_closed(chat) == 4003


async def test_a_client_at_its_limit_gets_429_and_others_do_not() -> None:
    async with open_server(capacity=3, per_client=2) as server, server.visit(), server.visit():
        status, problem, headers = await denial(server.url())
        assert (status, problem["code"]) == (429, "client_limit")
        assert int(headers["retry-after"]) > 0
        async with server.visit("bob"):
            await eventually(server, held=3)


async def test_a_full_cluster_makes_clients_wait_and_lets_them_in_by_ticket() -> None:
    order: list[int] = []
    async with open_server(capacity=1, wait_seconds=20) as server:

        async def come(number: int) -> None:
            async with server.visit(f"c{number}"):
                order.append(number)

        async with server.visit("first"):
            coming = []
            for number in range(5):
                coming.append(asyncio.create_task(come(number)))
                await eventually(server, held=1, waiting=number + 1)
            assert order == []
        await asyncio.gather(*coming)
        assert order == [0, 1, 2, 3, 4]
        assert (await server.connections.state()).high_water == 1


async def test_waiting_too_long_gets_503_with_the_place_in_line() -> None:
    async with open_server(capacity=1, wait_seconds=0.2) as server, server.visit("first"):
        status, problem, headers = await denial(server.url())
        assert (status, problem["code"], problem["place"]) == (503, "cluster_full", 1)
        assert int(headers["retry-after"]) > 0


async def test_a_full_line_gets_503_at_once() -> None:
    async with open_server(capacity=1, max_waiting=0) as server, server.visit("first"):
        status, problem, _ = await denial(server.url())
        assert (status, problem["code"]) == (503, "line_full")


async def test_whoever_leaves_the_line_makes_room_and_leaks_nothing() -> None:
    async with open_server(capacity=1, wait_seconds=20) as server:
        async with server.visit("first"):
            leaving = asyncio.create_task(server.visit("second").__aenter__())
            await eventually(server, held=1, waiting=1)
            leaving.cancel()
            await asyncio.wait([leaving])
            await eventually(server, held=1, waiting=0)
        await eventually(server, held=0)


@pytest.mark.parametrize("turns", range(6))
async def test_a_place_that_is_granted_as_its_client_goes_away_is_given_back(turns: int) -> None:
    async with open_server(capacity=1) as server:
        held = await server.connections.acquire("ben", wait_seconds=0)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade())
        await eventually(server, held=1, waiting=1)
        writer.close()
        for _ in range(turns):
            await asyncio.sleep(0)
        held.release()
        await eventually(server, held=0)
        async with server.visit():
            await eventually(server, held=1)


async def test_a_peek_tells_what_a_handshake_would_meet_and_joins_nothing() -> None:
    async def peek(client: str) -> tuple[int, dict[str, Any]]:
        url = server.url(f"clientId={client}&timeZone=UTC", "http")
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.headers["cache-control"] == "no-store"
            return response.status, await response.json(content_type=None)

    async with open_server(capacity=2, per_client=1) as server:
        assert (await peek("anna"))[0] == 426
        async with server.visit("anna"):
            assert (await peek("anna"))[1]["code"] == "client_limit"
            assert (await peek("bob"))[0] == 426
            async with server.visit("bob"):
                status, problem = await peek("carl")
                assert (status, problem["code"], problem["place"]) == (503, "cluster_full", 1)
                assert (await server.connections.state()).waiting == 0


def waiting(server: RunningServer, client: str, wait_id: str = WAIT_ID, scheme: str = "ws") -> str:
    """Return the address with which a client names its place in the queue."""
    return server.url(f"clientId={client}&timeZone=UTC&waitId={wait_id}", scheme)


async def place_of(server: RunningServer, client: str, wait_id: str = WAIT_ID) -> dict[str, Any]:
    """Ask where a client stands in the queue; return the problem."""
    async with aiohttp.ClientSession() as http, http.get(waiting(server, client, wait_id, "http")) as response:
        problem: dict[str, Any] = await response.json(content_type=None)
        assert problem["status"] == response.status
        return problem


async def test_a_client_that_waited_too_long_comes_back_to_its_place() -> None:
    async with open_server(capacity=1, wait_seconds=0.2) as server:
        async with server.visit("holder"):
            status, problem, headers = await denial(waiting(server, "anna"))
            assert (status, problem["code"], problem["place"], problem["keptSeconds"]) == (503, "cluster_full", 1, 15)
            assert headers["retry-after"] == "1"
            assert (await denial(server.url("clientId=bob&timeZone=UTC")))[1].keys() & {"keptSeconds"} == set()
            bob = asyncio.create_task(server.connections.acquire("bob", wait_seconds=10))
            await eventually(server, held=1, waiting=1)
            status, problem, _ = await denial(waiting(server, "anna"))
            assert (status, problem["place"]) == (503, 1)
            assert not bob.done()
        (await bob).release()


async def test_a_client_that_may_not_wait_is_promised_no_place() -> None:
    async with open_server(capacity=1, wait_seconds=0) as server, server.visit("holder"):
        status, problem, _ = await denial(waiting(server, "anna"))
        assert (status, problem["code"], "keptSeconds" in problem) == (503, "cluster_full", False)


async def test_a_place_is_told_live_while_its_handshake_waits_and_to_nobody_else() -> None:
    async with open_server(capacity=1, per_client=1) as server, contextlib.AsyncExitStack() as stack:
        holder = await server.connections.acquire("holder", wait_seconds=0)
        bob = asyncio.create_task(server.connections.acquire("bob", wait_seconds=10))
        await eventually(server, held=1, waiting=1)
        anna = asyncio.create_task(stack.enter_async_context(connect(waiting(server, "anna"))))
        await eventually(server, held=1, waiting=2)
        told = await place_of(server, "anna")
        assert (told["code"], told["place"], told["waitedSeconds"] >= 0, told["keptSeconds"] > 15) == (
            "cluster_full",
            2,
            True,
            True,
        )
        for client, wait_id in (("carl", WAIT_ID), ("anna", "another-wait-id-of-hers")):
            told = await place_of(server, client, wait_id)
            assert "waitedSeconds" not in told
            assert told.get("place") == (3 if client == "carl" else None)  # anna may not wait twice
        holder.release()
        permit = await bob
        assert (await place_of(server, "anna"))["place"] == 1
        permit.release()
        await (await anna).send(text("hello"))


async def test_a_later_handshake_takes_the_place_over() -> None:
    async with open_server(capacity=1, per_client=1) as server:
        holder = await server.connections.acquire("holder", wait_seconds=0)
        first = asyncio.create_task(denial(waiting(server, "anna")))
        await eventually(server, held=1, waiting=1)
        second = asyncio.create_task(_talk_at(waiting(server, "anna")))
        status, problem, _ = await first
        assert (status, problem["code"]) == (409, "wait_replaced")
        await eventually(server, held=1, waiting=1)
        holder.release()
        await second


async def _talk_at(url: str) -> None:
    async with connect(url) as chat:
        await chat.send(text("hello"))
        await chat.recv()


async def test_a_full_pod_tells_a_place_and_lets_nobody_in() -> None:
    async with open_server(capacity=2, max_open=1, wait_seconds=0.1) as server:
        elsewhere = await server.connections.acquire("elsewhere", wait_seconds=0)
        more = await server.connections.acquire("elsewhere", wait_seconds=0)
        await denial(waiting(server, "anna"))
        more.release()
        async with server.visit("bob"):
            assert server.registry.is_full
            assert (await place_of(server, "anna"))["place"] == 1
            assert (await place_of(server, "carl"))["code"] == "pod_full"
            elsewhere.release()
            assert (await place_of(server, "anna"))["code"] == "pod_full"


async def test_a_full_pod_turns_clients_away_though_the_cluster_has_room_and_takes_no_place_for_them() -> None:
    async with open_server(max_open=1) as server:
        async with server.visit("anna"):
            assert server.registry.is_full
            status, problem, headers = await denial(server.url("clientId=bob&timeZone=UTC"))
            assert (status, problem["code"], headers["retry-after"]) == (503, "pod_full", "1")
            url = server.url("clientId=bob&timeZone=UTC", "http")
            async with aiohttp.ClientSession() as http, http.get(url) as peeked:
                assert (await peeked.json(content_type=None))["code"] == "pod_full"
            assert (await server.connections.state()).held == 1
        await eventually(server, held=0)
        async with server.visit("bob"):
            pass


async def test_clients_that_waited_in_line_do_not_fill_a_pod_beyond_its_own_limit() -> None:
    async with open_server(capacity=2, max_open=1) as server:
        other, more = [await server.connections.acquire("elsewhere", wait_seconds=0) for _ in range(2)]
        visits = [asyncio.create_task(_talk(server, name)) for name in ("anna", "bob")]
        await eventually(server, held=2, waiting=2)
        for permit in (other, more):
            permit.release()
        told = sorted(await asyncio.gather(*visits))
        assert told == ["pod_full", "said hello"]
        await eventually(server, held=0)


async def _talk(server: RunningServer, client: str) -> str:
    try:
        async with server.visit(client) as chat:
            await chat.send(text("hello"))
            await chat.recv()
            async with asyncio.timeout(60):
                while server.denied("pod_full") < 1:  # noqa: ASYNC110 - a counter can only be read
                    await asyncio.sleep(0.005)
            return "said hello"
    except InvalidStatus as exc:
        return str(json.loads(exc.response.body or b"")["code"])


async def test_draining_denies_newcomers_and_those_in_line_and_closes_the_rest_with_1012() -> None:
    async with open_server(capacity=1, wait_seconds=20) as server, server.visit("first") as chat:
        waiting = asyncio.create_task(denial(server.url("clientId=second&timeZone=UTC")))
        await eventually(server, held=1, waiting=1)
        closing = asyncio.create_task(server.registry.drain(spread_seconds=0))
        status, problem, headers = await waiting
        assert (status, problem["code"]) == (503, "draining")
        assert headers["retry-after"]
        assert await until_closed(chat) == 1012
        await closing
        assert (await denial(server.url()))[1]["code"] == "draining"
        await eventually(server, held=0)


@pytest.mark.parametrize("end", ["granted", "refused", "left"])
async def test_a_handshake_that_waits_no_more_is_not_told_of_a_drain(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    told = list[Callable[[], None]]()
    monkeypatch.setattr(ConnectionRegistry, "on_drain", lambda _, tell: told.append(tell))
    monkeypatch.setattr(ConnectionRegistry, "off_drain", lambda _, tell: told.remove(tell))
    async with open_server(capacity=1, wait_seconds=0.5 if end == "refused" else 20) as server:
        held = await server.connections.acquire("ben", wait_seconds=0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade())
        await eventually(server, held=1, waiting=1)
        assert len(told) == 1
        if end == "granted":
            held.release()
            assert b" 101 " in await reader.readline()
        elif end == "refused":
            assert b" 503 " in await reader.readline()
        else:
            writer.close()
            await eventually(server, held=1, waiting=0)
        assert told == []
        writer.close()
        held.release()
        await eventually(server, held=0)


async def test_a_connection_that_opens_as_the_drain_begins_is_closed_with_1012(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_too_late(registry: ConnectionRegistry, connection: Connection) -> None:
        add(registry, connection)
        registry.is_draining = True

    add = ConnectionRegistry.add
    monkeypatch.setattr(ConnectionRegistry, "add", add_too_late)
    async with open_server() as server, server.visit() as chat:
        assert await until_closed(chat) == 1012


async def test_connections_are_counted_from_their_beginning_to_their_end() -> None:
    async with open_server(capacity=1) as server:

        def is_open() -> float | None:
            return server.metrics.registry.get_sample_value("chatbot_connections_open")

        async with server.visit() as chat:
            await chat.ping()
            assert (is_open(), server.closed(1000), server.denied("left_the_line")) == (1, 0, 0)
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(upgrade())
            await eventually(server, held=1, waiting=1)
            writer.close()
            await eventually(server, held=1, waiting=0)
        await eventually(server, held=0)
        async with asyncio.timeout(20):
            await server.registry.wait_until_empty()
        assert (is_open(), server.closed(1000), server.denied("left_the_line")) == (0, 1, 1)


async def test_a_frame_over_the_limit_is_closed_with_1009_while_the_client_is_still_sending() -> None:
    async with open_server(changed=limits(max_frame_bytes=64 * 1024)) as server, server.visit() as chat:
        with contextlib.suppress(ConnectionClosed):
            await chat.send(b"\x01" + bytes(8 * 1024 * 1024))
        assert await until_closed(chat) == 1009
        await eventually(server, held=0)


async def test_a_text_message_gets_an_error_frame_and_the_connection_goes_on() -> None:
    async with open_server() as server, server.visit() as chat:
        await chat.send("this is not binary")
        assert decode_response(await chat.recv()).error_code == "not_binary"  # type: ignore[arg-type]
        await chat.send(text("hello"))
        assert decode_response(await chat.recv()).text == "you said hello"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "messages",
    [b"\x81\x82\0\0\0\0\xc3\x28", b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0\x28"],
    ids=["whole", "in fragments"],
)
async def test_text_that_is_not_utf8_is_closed_with_1007_and_no_event_for_an_operator(
    messages: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_server() as server:
        reader, writer = await raw_connection(server)
        writer.write(messages + masked(text("hello")))
        async with asyncio.timeout(60):
            closed = await reader.read()
        assert closed == b"\x88\x18" + (1007).to_bytes(2) + b"text that is not UTF-8"
        writer.close()
        await eventually(server, held=0)
        assert server.bot.turns == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_never_sends_is_closed_with_4000() -> None:
    async with open_server(changed=limits(first_message_seconds=0.2)) as server, server.visit() as chat:
        assert await until_closed(chat) == 4000
        await eventually(server, held=0)


async def test_a_client_that_never_reads_loses_its_place_and_its_socket() -> None:
    bounds = limits(send_seconds=0.3, max_frame_bytes=1 << 20, max_text_bytes=1 << 20, max_bytes=1 << 23)
    async with open_server(changed=bounds) as server:
        reader, writer = await raw_connection(server)
        echo = text("x" * 500_000)
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                writer.write(masked(echo))
                if writer.transport.get_write_buffer_size() > 4_000_000:
                    break
                await asyncio.sleep(0)
        await eventually(server, held=0)
        writer.close()
        del reader


async def test_a_client_that_vanishes_without_a_word_gives_its_place_back() -> None:
    async with open_server(ping_seconds=0.2, pong_seconds=0.2) as server:
        _, writer = await raw_connection(server)
        await eventually(server, held=1)
        await eventually(server, held=0)  # it never answers a ping
        writer.close()


async def test_pongs_that_wait_behind_unread_frames_are_not_missed() -> None:
    bounds = limits(window=1, idle_seconds=20)
    async with open_server(changed=bounds, ping_seconds=0.1, pong_seconds=0.1) as server, server.visit() as chat:
        for _ in range(4):
            await chat.send(encode_request(Request(RequestKind.VOICE, b"0.4")))
        for _ in range(4):
            assert decode_response(await chat.recv()).text == "you said voice"  # type: ignore[arg-type]


@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_that_is_broken_off_as_its_place_is_granted_gives_it_back(turns: int) -> None:
    async with open_server(capacity=1) as server:
        held = await server.connections.acquire("ben", wait_seconds=0)
        peer = await Peer.open(server.port)
        await peer.write(upgrade())
        await until(server.connections, lambda state: state.waiting == 1)
        held.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        peer.reset()
        await until(server.connections, lambda state: (state.held, state.waiting) == (0, 0))


@pytest.mark.parametrize("asks", ["handshake", "peek"])
async def test_a_pool_that_learns_is_called_that(monkeypatch: pytest.MonkeyPatch, asks: str) -> None:
    async with open_server() as server:

        async def look(_client_id: str, *, wait_id: str | None) -> Outlook:
            assert wait_id is None
            return Outlook(Verdict.LEARNING, 3, 11.2)

        monkeypatch.setattr(server.connections, "request", partial(refused, PoolLearning(11.2, place=3)))
        monkeypatch.setattr(server.connections, "peek", look)
        if asks == "handshake":
            status, problem, headers = await denial(server.url())
        else:
            async with aiohttp.ClientSession() as http, http.get(server.url(scheme="http")) as response:
                status, problem, headers = response.status, await response.json(), dict(response.headers)
        assert (status, problem["code"], problem["seconds"], problem["place"]) == (503, "limits_learning", 12, 3)
        assert {name.lower(): value for name, value in headers.items()}["retry-after"] == "12"
