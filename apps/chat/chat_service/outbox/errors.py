"""What can go wrong with the outbox.

OutboxError
  OutboxLocked       another process uses the folder
  OutboxFull         over the limit of its size
  OutboxUnwritable   the disk did not take a record, or the folder cannot be used
  RecordUnreadable   a record or a segment is on disk and cannot be read now
"""

import errno
from typing import ClassVar, Final

from chat_service.outbox.records import Key

PROCESS_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What fails with these says nothing about the file: this process or the machine has run out of something."""
GONE_ERRORS: Final = {errno.ENOENT, errno.EIO}
"""What fails with these is not there any more: the disk has lost it."""


class OutboxError(Exception):
    """The outbox cannot be used; `code` is what the client is told."""

    code: ClassVar[str] = "storage_full"


class OutboxLocked(OutboxError):
    """Another process uses this folder."""


class OutboxFull(OutboxError):
    """The outbox holds all that it may; history has not taken anything for a while."""

    code = "busy"


class OutboxUnwritable(OutboxError):
    """The disk did not take the record."""


class RecordUnreadable(OutboxError):
    """A deferred record or segment is on disk and cannot be read now.

    Attributes:
        key: identifies it.
        file: its path in the folder of the outbox.
    """

    def __init__(self, key: Key, file: str, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.key = key
        self.file = file
