"""The floor that a service is measured beside: a process on uvloop that sends back what it gets, and no more."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import psutil
import uvloop


@dataclass(frozen=True, slots=True)
class Echo:
    """A running process."""

    process: psutil.Process
    port: int

    async def exchange(self, connections: int, messages: int, body: bytes) -> None:
        """Send so many messages over so many connections, each when the one before has come back."""

        async def talk() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for _ in range(messages // connections):
                writer.write(body)
                await reader.readexactly(len(body))
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(talk())


@contextmanager
def run_echo() -> Iterator[Echo]:
    """Run one on loopback for the length of a `with` block."""
    with subprocess.Popen([sys.executable, "-m", "bench.echo"], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not (port := process.stdout.readline().strip()):
                raise RuntimeError("the echo server did not start")
            yield Echo(psutil.Process(process.pid), int(port))
        finally:
            process.terminate()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
