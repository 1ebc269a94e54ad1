"""A stand-in for the chat API of a language model: what it streams."""

import asyncio
import json
from typing import Any

from aiohttp import web


def chunk(content: str | None = None, finish: str | None = None, usage: tuple[int, int] | None = None) -> bytes:
    """Return an event of the stream."""
    choices = [{"index": 0, "delta": {"content": content} if content else {}, "finish_reason": finish}]
    document: dict[str, Any] = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    document["choices"] = [] if usage else choices
    if usage:
        document["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return event(document)


def event(document: object) -> bytes:
    """Return any JSON as an event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def words(*contents: str, finish: str | None = "stop") -> list[bytes]:
    """Return the events of a whole reply."""
    return [*(chunk(content) for content in contents), chunk(finish=finish), b"data: [DONE]\n\n"]


async def streamed(request: web.Request, *parts: bytes, cut: bool = False) -> web.StreamResponse:
    """Answer with these events; `cut`: the connection breaks behind them."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for part in parts:
        await answer.write(part)
        await asyncio.sleep(0)
    if cut:
        assert request.transport is not None
        request.transport.abort()
    return answer
