"""Serving in one event loop: what clients, proxies and the program around it can rely on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from servicekit.listener import Address
from servicekit.runner import GC_THRESHOLDS, Listener, serve


class Kitchen:
    """An application whose answers wait for the test, and its serving."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.stop = asyncio.Event()
        self.cancelled = False
        self.addresses: asyncio.Future[Sequence[Address]] = asyncio.get_running_loop().create_future()
        self.app = Starlette(
            routes=[
                Route("/who", self.who),
                Route("/slow", self.slow),
                Route("/long", self.long),
                WebSocketRoute("/echo", self.echo),
            ]
        )

    def listener(self, name: str = "tea", **options: object) -> Listener:
        return Listener(app=self.app, host="127.0.0.1", port=0, name=name, **options)  # type: ignore[arg-type]

    async def serve(self, *listeners: Listener, drain_seconds: float = 20, close_seconds: float = 20) -> int:
        return await serve(
            listeners or [self.listener()],
            self.drain,
            drain_seconds,
            ready=self.addresses.set_result,
            stop=self.stop,
            close_seconds=close_seconds,
        )

    async def url(self, index: int = 0) -> str:
        return f"http://{(await self.addresses)[index]}"

    async def drain(self) -> bool:
        return True

    async def who(self, request: Request) -> Response:
        assert request.client is not None
        return JSONResponse([request.client.host, request.url.scheme])

    async def slow(self, _: Request) -> Response:
        self.asked.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return JSONResponse("done")

    async def long(self, _: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first,"
            self.asked.set()
            await self.go_on.wait()
            yield b"last"

        return StreamingResponse(parts())

    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(Exception):
            while True:
                await websocket.send_bytes(await websocket.receive_bytes())


async def no_longer_listens(address: Address) -> None:
    """Wait until nothing answers there."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(address.host, address.port)
            except ConnectionError:
                return
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def kitchen() -> Kitchen:
    return Kitchen()


async def test_all_listeners_serve_and_their_real_addresses_are_told_in_order(
    kitchen: Kitchen, http: aiohttp.ClientSession
) -> None:
    running = asyncio.create_task(kitchen.serve(kitchen.listener("tea"), kitchen.listener("cake")))
    assert [address.name for address in await kitchen.addresses] == ["tea", "cake"]
    for index in range(2):
        async with http.get(f"{await kitchen.url(index)}/who") as response:
            assert (await response.json(), "Server" in response.headers) == (["127.0.0.1", "http"], False)
    kitchen.stop.set()
    assert await running == 0


async def test_when_one_port_is_taken_the_program_hears_of_it_and_nothing_was_served(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    second = Listener(app=kitchen.app, host="127.0.0.1", port=port, hint="set CAKE_PORT")
    assert await kitchen.serve(kitchen.listener(), second) == 1
    taken.close()
    line = f"cannot listen on 127.0.0.1:{port}: address already in use (set CAKE_PORT)\n"
    assert capsys.readouterr().err == line
    assert not kitchen.addresses.done()


async def test_while_the_drain_works_everything_is_still_served(http: aiohttp.ClientSession) -> None:
    class Slow(Kitchen):
        async def drain(self) -> bool:
            self.asked.set()
            await self.go_on.wait()
            return True

    kitchen = Slow()
    running = asyncio.create_task(kitchen.serve())
    url = await kitchen.url()
    kitchen.stop.set()
    await kitchen.asked.wait()
    async with http.get(f"{url}/who") as response:
        assert response.status == 200
    kitchen.go_on.set()
    assert await running == 0
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(f"{url}/who")


async def test_an_answer_that_is_being_sent_is_sent_to_its_end(kitchen: Kitchen, http: aiohttp.ClientSession) -> None:
    running = asyncio.create_task(kitchen.serve())
    async with http.get(f"{await kitchen.url()}/long") as response:
        await kitchen.asked.wait()
        kitchen.stop.set()
        await no_longer_listens((await kitchen.addresses)[0])
        kitchen.go_on.set()
        assert await response.text() == "first,last"
    assert await running == 0


async def test_a_request_that_takes_too_long_after_the_drain_is_cut_off(
    kitchen: Kitchen, http: aiohttp.ClientSession
) -> None:
    running = asyncio.create_task(kitchen.serve(close_seconds=0.1))
    under_way = asyncio.create_task(http.get(f"{await kitchen.url()}/slow"))
    await kitchen.asked.wait()
    kitchen.stop.set()
    assert await running == 0
    with suppress(aiohttp.ClientError):
        assert (await under_way).status == 500
    assert kitchen.cancelled


async def test_cancelled_serving_lets_go_of_ports_and_requests(kitchen: Kitchen, http: aiohttp.ClientSession) -> None:
    running = asyncio.create_task(kitchen.serve())
    url = await kitchen.url()
    under_way = asyncio.create_task(http.get(f"{url}/slow"))
    await kitchen.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert kitchen.cancelled
    with pytest.raises(aiohttp.ClientError):
        await under_way
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(url)


async def test_a_program_that_fails_when_all_is_ready_leaves_nothing_listening(kitchen: Kitchen) -> None:
    told: list[Address] = []

    def ready(addresses: Sequence[Address]) -> None:
        told.extend(addresses)
        raise ValueError("spilt")

    with pytest.raises(ValueError, match="spilt"):
        await serve([kitchen.listener()], kitchen.drain, 5, ready=ready)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(told[0].host, told[0].port)


async def test_what_proxies_say_of_clients_is_not_believed(
    kitchen: Kitchen, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # no setting of ours
    running = asyncio.create_task(kitchen.serve(kitchen.listener()))
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    async with http.get(f"{await kitchen.url()}/who", headers=headers) as response:
        assert await response.json() == ["127.0.0.1", "http"]
    kitchen.stop.set()
    assert await running == 0


async def test_websockets_are_served_only_where_they_are_wanted_and_up_to_a_size(kitchen: Kitchen) -> None:
    with_them = kitchen.listener(ws="websockets-sansio", ws_max_bytes=1000)
    running = asyncio.create_task(kitchen.serve(with_them, kitchen.listener("cake")))
    tea, cake = [f"ws://{address}/echo" for address in await kitchen.addresses]
    async with connect(tea) as websocket:
        await websocket.send(b"x" * 1000)
        assert await websocket.recv() == b"x" * 1000
        await websocket.send(b"x" * 1001)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1009
    with pytest.raises(InvalidHandshake):
        await connect(cake)
    kitchen.stop.set()
    assert await running == 0


async def test_outside_the_main_thread_it_ends_by_its_event() -> None:
    async def main() -> int:
        kitchen = Kitchen()
        running = asyncio.create_task(kitchen.serve())
        await kitchen.addresses
        kitchen.stop.set()
        return await running

    assert await asyncio.to_thread(lambda: asyncio.run(main())) == 0


PROGRAM = """
import asyncio, gc, json, sys
from servicekit.runner import run

async def main():
    loop = type(asyncio.get_running_loop()).__module__
    print(json.dumps([loop.partition(".")[0], gc.get_threshold()]))
    if len(sys.argv) > 1:
        raise ValueError("spilt")
    return 7

sys.exit(run(main{call}))
"""


@pytest.mark.parametrize("call", ["", "()"], ids=["a function", "a coroutine"])
def test_a_program_runs_in_a_loop_made_for_servers_and_gives_its_exit_code(call: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (7, "")
    assert json.loads(ended.stdout) == ["uvloop", list(GC_THRESHOLDS)]


def test_what_a_program_raises_comes_out() -> None:
    program = [sys.executable, "-c", PROGRAM.format(call="()"), "fail"]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: spilt\n")
