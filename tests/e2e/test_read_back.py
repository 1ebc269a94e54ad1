"""Everything that clients say through two pods of each service is read back, byte for byte."""

import asyncio
import warnings

from devtools.stack import Stack
from frameproto import RequestKind, Response, ResponseKind
from tests.e2e.talking import VIDEO, VOICE, ask, historian, visit

CLIENTS = 12


async def converse(stack: Stack, client_id: str) -> list[Response]:
    async with visit(stack, client_id) as chat:
        return [
            await ask(chat, RequestKind.TEXT, f"hello from {client_id}".encode()),
            await ask(chat, RequestKind.VOICE, VOICE),
            await ask(chat, RequestKind.VIDEO, VIDEO),
            await ask(chat, RequestKind.TEXT, "Grüße 🎉".encode()),
        ]


async def test_every_message_and_byte_of_media_is_in_history(stack: Stack) -> None:
    if not stack.balanced:
        warnings.warn("haproxy is not installed: clients connected to the pods directly", stacklevel=1)
    clients = [f"reader-{number}" for number in range(CLIENTS)]
    heard = await asyncio.gather(*(converse(stack, client) for client in clients))
    assert all(pod.count("connection.open") for pod in stack.chat), "clients were spread over both pods"
    async with historian(stack) as history:
        for client, (text, voice, video, last) in zip(clients, heard, strict=True):
            assert [r.kind for r in (text, voice, video, last)] == [
                ResponseKind.TEXT,
                ResponseKind.VOICE,
                ResponseKind.VIDEO,
                ResponseKind.TEXT,
            ]
            messages = await history.messages(client, 8)
            assert [m["direction"] for m in messages] == ["request", "reply"] * 4
            assert [m["text"] for m in messages] == [
                f"hello from {client}", text.text, None, voice.text, None, video.text, "Grüße 🎉", last.text,
            ]  # fmt: skip
            media = {(m["id"].rpartition(".")[2], m["kind"], part): await history.media(found["href"])
                     for m in messages for part, found in m["media"].items()}  # fmt: skip
            assert media == {
                ("request", "voice", "voice"): VOICE,
                ("reply", "voice", "voice"): voice.voice,
                ("request", "video", "video"): VIDEO,
                ("reply", "video", "voice"): video.voice,
                ("reply", "video", "image"): video.image,
            }
            (session,) = await history.sessions(client)
            assert (session["message_count"], session["client_id"], session["time_zone"]) == (8, client, "UTC")
