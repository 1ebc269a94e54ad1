"""All data of a client in a folder, with its media: exported from one installation, imported into another.

    history.ndjson     sessions and messages, as history exports them
    media/             MESSAGE-PART.SUFFIX
    index.html         the same to read in a browser

The index is written last, so a folder with an index is complete. A repeated export into the same folder fetches only
new media.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chat_client.archive_page import page_lines
from chat_client.errors import FileError, Refused
from chat_client.files import replaced_file
from chat_client.history import History
from chat_client.history_records import Media, Message, read_message
from frameproto.history import ExportLine
from frameproto.media import suffix_of

INDEX: Final = "history.ndjson"
PAGE: Final = "index.html"
MEDIA: Final = "media"
GONE: Final = frozenset({"media_unknown", "message_unknown"})
OnMedia = Callable[[Message, Media], None]


@dataclass(slots=True)
class Contents:
    """How much there is."""

    sessions: int = 0
    messages: int = 0
    media: int = 0
    media_bytes: int = 0
    missing: int = 0

    def count(self, line: dict[str, Any]) -> None:
        """Count a line of an export."""
        if line["type"] == ExportLine.SESSION:
            self.sessions += 1
        elif line["type"] == ExportLine.MESSAGE:
            self.messages += 1
            self.media += len(line["media"])
            self.media_bytes += sum(int(each["bytes"]) for each in line["media"].values())


async def contents_of(history: History, client_id: str) -> Contents:
    """Return how much history has of a client.

    Raises:
        ClientError: the service cannot be asked, or refuses.
    """
    contents = Contents()
    async for line in history.export_lines(client_id):
        contents.count(json.loads(line))
    return contents


async def write_archive(history: History, client_id: str, folder: Path, on_media: OnMedia) -> Contents:
    """Write all of a client into a folder; media that are there already are not fetched again.

    Raises:
        ClientError: something cannot be had, or not be written. What was written stays; written again, it goes on.
    """
    contents = Contents()
    with replaced_file(folder / INDEX) as index:
        async for line in history.export_lines(client_id):
            index.write(line)
            item = json.loads(line)
            contents.count(item)
            if item["type"] == ExportLine.MESSAGE:
                message = read_message(item)
                for media in message.media:
                    contents.missing += not await _fetch(history, message, media, folder, on_media)
    with replaced_file(folder / PAGE) as page:
        for text in page_lines(index_lines(folder / INDEX), media_name):
            page.write(text.encode(errors="replace"))
    return contents


def media_name(message_id: str, part: str, content_type: str) -> str:
    """Return where in the folder a medium is."""
    return f"{MEDIA}/{message_id}-{part}{suffix_of(content_type)}"


async def _fetch(history: History, message: Message, media: Media, folder: Path, on_media: OnMedia) -> bool:
    """Fetch a medium unless it is there; return whether it is there then: history may have lost it."""
    path = folder / media_name(message.id, media.part, media.content_type)
    if path.exists() and path.stat().st_size == media.size_bytes:
        return True
    on_media(message, media)
    try:
        await history.download(media, path)
    except Refused as exc:
        if exc.code not in GONE:
            raise
        return False
    return True


def index_lines(index: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of an index, up to its end.

    Raises:
        FileError: it cannot be read, is no export, or is not whole.
    """
    line: dict[str, Any] = {}
    try:
        with index.open("rb") as file:
            for raw in file:
                line = json.loads(raw)
                if line["type"] not in set(ExportLine):
                    raise ValueError(f"a line has the type {line['type']}")
                yield line
    except OSError as exc:
        raise FileError(f"{index} cannot be read: {exc.strerror}") from exc
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise FileError(f"{index} is not an export of history: {exc}") from exc
    if line.get("type") != ExportLine.END:
        raise FileError(f"{index} is not whole: its last line is missing")
