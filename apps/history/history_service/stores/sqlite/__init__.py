"""Messages in an SQLite file: durable, on one machine."""

from history_service.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
