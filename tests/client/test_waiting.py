"""Waiting for a place: it is told, it is kept over attempts, and a plain GET says what a handshake would meet."""

import asyncio
import json
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from chat_client import Backoff, Change, Refused, Retrying, Unreachable, Waiting, connect, preflight
from devtools.ports import free_port
from devtools.processes import running
from devtools.watching import eventually
from tests.client.conftest import Chatbot, as_chatbot, settings
from tests.client.standins import echo, talking


def problem(status: int, code: str, **more: object) -> Response:
    body = json.dumps({"status": status, "code": code, "detail": "wait", **more}).encode()
    headers = Headers({"Content-Length": str(len(body)), "Retry-After": "1", "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, body)


class Queue:
    """Lets a client in when it is told to; until then it waits, or is sent away."""

    def __init__(self, *, turned_away: int = 0, is_short: bool = False) -> None:
        self.turned_away = turned_away
        self.is_short = is_short
        self.free = asyncio.Event()
        self.looks = 0
        self.wait_ids: list[str] = []
        self.tokens: set[str | None] = set()

    async def __call__(self, _websocket: ServerConnection, request: Request) -> Response | None:
        self.tokens.add(request.headers.get("Authorization"))
        wait_id = parse_qs(urlsplit(request.path).query)["waitId"][0]
        if "Upgrade" not in request.headers:
            self.looks += 1
            if self.looks == 2 or self.is_short:
                self.free.set()
            return problem(503, "cluster_full", place=3 - self.looks)
        self.wait_ids.append(wait_id)
        if self.turned_away:
            self.turned_away -= 1
            return problem(503, "cluster_full", place=7, keptSeconds=15)
        await self.free.wait()
        return None


async def test_the_place_is_told_while_the_handshake_waits() -> None:
    queue, changes = Queue(), list[Change]()
    async with (
        talking(echo, process_request=queue) as url,
        connect(url, client_id="anna", time_zone="UTC", token="abc", on_change=changes.append) as chat,
    ):
        assert (await chat.ask("hello")).text == "6 o"
    waits = [change for change in changes if isinstance(change, Waiting)]
    assert [wait.place for wait in waits] == [2, 1]
    assert 0.5 < waits[0].seconds < waits[1].seconds
    assert queue.tokens == {"Bearer abc"}


async def test_the_place_is_kept_over_attempts_and_given_up_with_the_connection() -> None:
    queue, changes = Queue(turned_away=2), list[Change]()
    queue.free.set()

    async def hang_up(websocket: ServerConnection) -> None:
        if len(queue.wait_ids) == 3:
            await websocket.close(1012)
        await echo(websocket)

    async with (
        talking(hang_up, process_request=queue) as url,
        connect(url, client_id="anna", time_zone="UTC", backoff=Backoff(0.01), on_change=changes.append) as chat,
    ):
        assert (await chat.ask("hello")).text == "6 o"
    first, second, third, fourth = queue.wait_ids
    assert first == second == third != fourth
    places = [
        change.why.place for change in changes if isinstance(change, Retrying) and isinstance(change.why, Refused)
    ]
    assert places == [7, 7]


async def test_a_fault_of_on_change_while_the_client_waits_comes_out_of_connect() -> None:
    def faulty(change: Change) -> None:
        if isinstance(change, Waiting):
            raise ZeroDivisionError

    async with talking(echo, process_request=Queue(is_short=True)) as url:
        with pytest.raises(ZeroDivisionError):
            async with connect(url, client_id="anna", time_zone="UTC", on_change=faulty):
                raise AssertionError


async def test_a_client_without_patience_is_told_its_place() -> None:
    async with talking(echo, process_request=Queue(turned_away=1)) as url:
        with pytest.raises(Refused, match="place 7 in the queue") as refused:
            async with connect(url, client_id="anna", time_zone="UTC", patience_seconds=0):
                raise AssertionError
    assert (refused.value.place, refused.value.advice) == (7, "try again later")


async def test_the_queue_of_the_chatbot_tells_each_place_and_keeps_it(tmp_path: Path) -> None:
    full = settings(tmp_path, CHAT_MAX_CONNECTIONS=1, CHAT_CONNECT_WAIT_SECONDS=2)
    order: list[str] = []

    async def stand_in_line(url: str, name: str, changes: list[Change]) -> None:
        async with connect(url, client_id=name, time_zone="UTC", on_change=changes.append) as chat:
            order.append(name)
            await chat.ask("hello")

    first, second = list[Change](), list[Change]()
    with running("standalone", tmp_path / "log", full) as service:
        url = as_chatbot(service).url
        async with asyncio.TaskGroup() as group, connect(url, client_id="inside", time_zone="UTC"):
            group.create_task(stand_in_line(url, "first", first))
            await eventually(lambda: 1 in places(first), "the first place")
            group.create_task(stand_in_line(url, "second", second))
            await eventually(lambda: 2 in places(second), "the second place")
            for changes in (first, second):  # a handshake waits for 2 s, so the place is kept over several
                await eventually(partial(denied_twice, changes), "denials")
    assert sorted(order) == ["first", "second"]
    assert set(places(first)) == {1}
    assert set(places(second)) <= {1, 2}  # 1 while the first one is between two handshakes


def places(changes: list[Change]) -> list[int]:
    return [change.place for change in changes if isinstance(change, Waiting)]


def denied_twice(changes: list[Change]) -> bool:
    return sum(isinstance(change, Retrying) for change in changes) >= 2


async def test_a_preflight_says_what_a_handshake_would_meet(chatbot: Chatbot) -> None:
    found = await preflight(chatbot.url, client_id="anna", time_zone="Europe/Berlin")
    assert (found.admitted, found.refusal) == (True, None)
    found = await preflight(chatbot.url, client_id="anna", time_zone="Europe/Atlantis")
    assert not found.admitted
    assert found.refusal is not None
    assert (found.refusal.status, found.refusal.code) == (400, "time_zone_unknown")
    with pytest.raises(Unreachable, match="cannot be reached"):
        await preflight(f"ws://127.0.0.1:{free_port()}", client_id="anna", time_zone="UTC")
