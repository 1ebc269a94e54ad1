"""Reads what history holds after a run, over HTTP, once everything has been delivered."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chat_client import History, Message, Refused
from loadtest.client_log import digest
from loadtest.json_lines import as_line
from loadtest.tokens import token_of

NOT_FOUND: Final = 404
READERS: Final = 8


@dataclass(slots=True, kw_only=True)
class ReadExchange:
    """One exchange as history has it; the fields are those of `ClientExchange`."""

    session: str
    id: str
    kind: str
    said: str
    reply: str
    voice_bytes: int
    image_bytes: int
    message_id: str = ""


async def read_history(address: str, sessions: Mapping[str, Sequence[str]], write: Callable[[str], None]) -> None:
    """Record what history has of these sessions, by client.

    Raises:
        ClientError: history cannot be asked.
    """
    left = list(sessions.items())

    async def reader() -> None:
        while left:
            client, theirs = left.pop()
            async with History(address, token=token_of(client)) as history:
                for session in theirs:
                    for kept in exchanges_of(session, await _messages(history, session)):
                        write(as_line(kept))

    for trouble in await asyncio.gather(*(reader() for _ in range(READERS)), return_exceptions=True):
        if isinstance(trouble, BaseException):
            raise trouble


def exchanges_of(session: str, messages: Iterable[Message]) -> list[ReadExchange]:
    """Pair requests and replies, in the order of history."""
    found: dict[str, ReadExchange] = {}
    for message in messages:
        exchange_id, _, direction = message.id.rpartition(".")
        kept = found.setdefault(
            exchange_id,
            ReadExchange(session=session, id=exchange_id, kind="", said="", reply="", voice_bytes=0, image_bytes=0),
        )
        kept.message_id = "" if message.message_id is None else str(message.message_id)
        if direction == "request":
            kept.kind, kept.said = message.kind, message.text or ""
        else:
            sizes = {media.part: media.size_bytes for media in message.media}
            kept.reply = digest(message.text or "")
            kept.voice_bytes, kept.image_bytes = sizes.get("voice", 0), sizes.get("image", 0)
    return list(found.values())


async def _messages(history: History, session: str) -> list[Message]:
    try:
        return [message async for message in history.messages(UUID(session))]
    except Refused as exc:
        if exc.status == NOT_FOUND:  # nothing was said in it
            return []
        raise
