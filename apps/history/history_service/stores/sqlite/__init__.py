"""Messages in an SQLite file: durable, on one machine."""

from history_service.stores.sqlite.uploads import Uploads

__all__ = ["SqliteStore"]


class SqliteStore(Uploads):
    """The message store in one file: one connection writes, another reads.

    Args:
        path: the file.
    """
