"""A chat service with Starlette, redis-py and Motor as most would build it. Prints its port.

A counter in Redis bounds the messages in process, and each exchange is inserted into MongoDB before its reply leaves.
The counter leaks when the process dies, there is no queue, and an exchange is lost when MongoDB is down.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.exchanges.services.starlette_bare import serve

MAX_MESSAGES = 500
COUNTER = "messages"
ERROR, TEXT = b"\x03", b"\x00"


@asynccontextmanager
async def _clients(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    mongodb: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(os.environ["MONGODB_URL"])
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        yield {"redis": redis, "exchanges": mongodb["usual_python"]["exchanges"]}
    mongodb.close()


async def _chat(websocket: WebSocket) -> None:
    redis, exchanges = websocket.state.redis, websocket.state.exchanges
    client = websocket.query_params["clientId"]
    await websocket.accept()
    try:
        while True:
            text = (await websocket.receive_bytes())[1:].decode()
            if await redis.incr(COUNTER) > MAX_MESSAGES:
                await redis.decr(COUNTER)
                await websocket.send_bytes(_frame(ERROR, "busy: try again"))
                continue
            try:
                reply = f"You said: {text}"
                await exchanges.insert_one(
                    {
                        "_id": str(uuid.uuid4()),
                        "client": client,
                        "at": datetime.now(UTC),
                        "request": text,
                        "reply": reply,
                    }
                )
                await websocket.send_bytes(_frame(TEXT, reply))
            finally:
                await redis.decr(COUNTER)
    except WebSocketDisconnect:
        return


def _frame(kind: bytes, text: str) -> bytes:
    body = text.encode()
    return kind + len(body).to_bytes(4, "big") + bytes(4) + body


if __name__ == "__main__":
    serve(Starlette(routes=[WebSocketRoute("/connect", _chat)], lifespan=_clients))
