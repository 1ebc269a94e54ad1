"""Look-ups in history during a conversation: messages, words, ids, and media to open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from chat_client.cli.clock import local
from chat_client.cli.history import save_media, show_message, tell_times
from chat_client.cli.output import notes
from chat_client.cli.terminal_chat import ConnectOptions
from chat_client.errors import FileError, Refused
from chat_client.history import History
from chat_client.history_records import Message
from chat_client.installation import learn_history_address
from chat_client.short_ids import find_message, find_session
from frameproto import MediaPart

COMPLETED = 50


class Lookup:
    """Reads history for a dialogue.

    Args:
        options: of the command line.
    """

    def __init__(self, options: ConnectOptions) -> None:
        self._options = options
        self._address = options.history_url

    async def show_session(self, session_id: UUID) -> None:
        """Print the messages of a session.

        Raises:
            ClientError: history cannot be asked, or refuses.
        """
        try:
            async with self._history() as history:
                await tell_times(history, session_id)
                async for message in history.messages(session_id):
                    show_message(message, {}, self._address or "")
        except Refused as exc:
            if exc.code != "session_unknown":
                raise
            notes().print("history has nothing of this conversation yet")

    async def show_found(self, words: str) -> None:
        """Print the messages that hold all words.

        Raises:
            ClientError: history cannot be asked, or refuses.
        """
        found = 0
        async with self._history() as history:
            async for message in history.search(self._options.client_id, words):
                show_message(message, {}, self._address or "")
                found += 1
        if not found:
            notes().print("no message holds all of these words")

    async def session(self, given: str) -> UUID:
        """Return the session that is given, or begins so.

        Raises:
            ClientError: there is none, or more than one; history cannot be asked.
        """
        async with self._history() as history:
            return await find_session(history, self._options.client_id, given)

    async def media(self, given: str, parts: tuple[MediaPart, ...], folder: Path) -> Path:
        """Return a file with the first of these parts that a message has, downloaded if need be.

        Raises:
            ClientError: there is no such message or part; it cannot be had.
        """
        async with self._history() as history:
            message = await history.message(await find_message(history, self._options.client_id, given))
            for part in parts:
                for media in message.media:
                    if media.part == part:
                        return await save_media(history, message, media, folder)
        raise FileError(f"{message.id} has no {' and no '.join(parts)}")

    async def sessions(self) -> list[tuple[str, str]]:
        """Return the latest sessions, each with a word about it."""
        found: list[tuple[str, str]] = []
        async with self._history() as history:
            async for session in history.sessions(self._options.client_id):
                found.append((str(session.id), session.title or f"{local(session.started_at):%Y-%m-%d %H:%M}"))
                if len(found) == COMPLETED:
                    break
        return found

    async def messages_with_media(self, session_id: UUID | None) -> list[tuple[str, str]]:
        """Return the latest messages of a session that have media, newest first."""
        if session_id is None:
            return []
        async with self._history() as history:
            newest = [message async for message in history.messages(session_id, newest=COMPLETED)]
        return [(message.id, _about(message)) for message in reversed(newest) if message.media]

    @asynccontextmanager
    async def _history(self) -> AsyncIterator[History]:
        if self._address is None:
            self._address = await asyncio.to_thread(learn_history_address, self._options.url)
        async with History(self._address, token=self._options.token) as history:
            yield history


def _about(message: Message) -> str:
    parts = ", ".join(media.part for media in message.media)
    return f"{parts}: {' '.join((message.text or '').split())[:40]}"
