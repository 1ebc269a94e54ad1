"""The floor: a process on uvloop that reads a request of known size over TCP and writes a reply of known size.

A connection begins with both sizes, four bytes each, big-endian.
"""

import asyncio
import struct
from typing import cast

import uvloop

SIZES = struct.Struct(">II")


class _Floor(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class
        self._request_size = 0
        self._read = 0
        self._reply = b""

    def data_received(self, data: bytes) -> None:
        if not self._request_size:  # the eight bytes are a segment of their own: the client waits for the answer
            self._request_size, reply_size = SIZES.unpack(data)
            self._reply = bytes(reply_size)
            self._transport.write(SIZES.pack(self._request_size, reply_size))
            return
        self._read += len(data)
        count, self._read = divmod(self._read, self._request_size)
        if count:
            self._transport.write(self._reply * count)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Floor, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
