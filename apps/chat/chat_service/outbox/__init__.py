"""The outbox: finished exchanges on local disk, until history has them."""

from chat_service.outbox.errors import OutboxError, OutboxFull, OutboxLocked, OutboxUnwritable, RecordUnreadable
from chat_service.outbox.outbox import Outbox
from chat_service.outbox.records import CHUNK_BYTES, Batch, Key, Record, RecordName
from chat_service.outbox.writer import OnKept

__all__ = [
    "CHUNK_BYTES",
    "Batch",
    "Key",
    "OnKept",
    "Outbox",
    "OutboxError",
    "OutboxFull",
    "OutboxLocked",
    "OutboxUnwritable",
    "Record",
    "RecordName",
    "RecordUnreadable",
]
