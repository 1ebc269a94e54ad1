"""Starlette as small as it gets: each message is answered with its first bytes. Prints its port."""

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

REPLY_BYTES = 64


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            request = await websocket.receive_bytes()
            await websocket.send_bytes(request[:REPLY_BYTES])
    except WebSocketDisconnect:
        return


def serve(app: Starlette) -> None:
    """Serve an app on a free port as our services are served: uvloop, `websockets-sansio`, nothing compressed."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            loop="uvloop",
            ws_per_message_deflate=False,
            log_level="error",
            access_log=False,
        )
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    serve(Starlette(routes=[WebSocketRoute("/connect", _echo)]))
