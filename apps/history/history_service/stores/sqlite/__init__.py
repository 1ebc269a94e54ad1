"""Messages in an SQLite file: durable, on one machine."""

from history_service.stores.sqlite.erasure import Erasure

__all__ = ["SqliteStore"]


class SqliteStore(Erasure):
    """The message store in one file: one connection writes, another reads.

    Args:
        path: the file.
    """
