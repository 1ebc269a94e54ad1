"""Keys of media: `client/session/exchange/file`. Only this module builds and parses them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

PARTS: Final = 4

MARKER: Final = "_chatbot/database.json"
"""The key of the marker that names the bucket's database. No client id begins with this character."""


@dataclass(frozen=True, slots=True)
class MediaKey:
    """Names a medium: `anna/<session>/<exchange>/request.mp3`."""

    client_id: str
    session_id: UUID
    exchange_id: UUID
    file: str

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """Parse a key; None: it is not a media key."""
        parts = key.split("/")
        if len(parts) != PARTS:
            return None
        try:
            parsed = cls(parts[0], UUID(parts[1]), UUID(parts[2]), parts[3])
        except ValueError:
            return None
        return parsed if str(parsed) == key else None

    @property
    def folder(self) -> str:
        """The prefix of all media of the exchange."""
        return f"{session_folder(self.client_id, self.session_id)}{self.exchange_id}/"

    def __str__(self) -> str:
        return self.folder + self.file


def client_folder(client_id: str) -> str:
    """Return the prefix of all media of a client."""
    return f"{client_id}/"


def session_folder(client_id: str, session_id: UUID) -> str:
    """Return the prefix of all media of a session."""
    return f"{client_id}/{session_id}/"


def by_client(keys: Iterable[MediaKey]) -> dict[str, list[MediaKey]]:
    """Group keys by client, because the message store is queried for one client at a time."""
    sorted_out: dict[str, list[MediaKey]] = defaultdict(list)
    for key in keys:
        sorted_out[key.client_id].append(key)
    return sorted_out
