"""What tests of the outbox share: reading records back."""

import asyncio
from pathlib import Path

from chat_service.outbox import Outbox, OutboxError, Record
from frameproto.exchange import Exchange, decode_exchange

BIG = 1 << 30


async def append(outbox: Outbox, one: Exchange) -> None:
    """Keep an exchange; raises the OutboxError that tells why it is not kept."""
    kept: asyncio.Future[OutboxError | None] = asyncio.get_running_loop().create_future()
    outbox.keep(one, lambda error: None if kept.done() else kept.set_result(error))
    if (error := await kept) is not None:
        raise error


def payload(record: Record) -> bytes:
    """Return the whole encoded exchange."""
    return record.opening + b"".join(record.read_media())


def text_of(record: Record) -> str:
    return bytes(decode_exchange(payload(record)).request)[1:].decode()


async def drained(outbox: Outbox, batch_bytes: int = BIG) -> list[str]:
    """Deliver everything, and return the texts in the order of delivery."""
    texts: list[str] = []
    while (batch := await outbox.peek_batch(batch_bytes)) is not None:
        texts += [text_of(record) for record in batch.records]
        await outbox.done(batch)
    return texts


def files(folder: Path, kind: str = "waiting") -> list[Path]:
    return sorted((folder / kind).iterdir())
