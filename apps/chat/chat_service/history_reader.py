"""What chat asks history for: the answer to a message that is sent again, and the last messages of a session.

Both are bounded in time, and chat goes on without them: the message is answered anew, the bot remembers less. What
fails is logged once for as long as it fails, and when it works again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote
from uuid import UUID

import aiohttp

from botkit import Said, Speaker
from botkit.memory import MAX_MESSAGES
from frameproto import FrameError, RequestKind, decode_response
from frameproto.history import Direction
from servicekit.logs import get_logger

log = get_logger(__name__)

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_CONTEXT_BYTES: Final = 2 * 1024 * 1024
KINDS: Final = {kind.message_kind.value: kind for kind in RequestKind}
DENYING: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class HistoryUnavailable(Exception):
    """History did not answer as it should, or not in time."""


@dataclass(slots=True)
class _OutageLog:
    """Logs the first of the failures in a row of one kind of question."""

    consequence: str
    failures: int = 0

    def failed(self, reason: str) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning("history.not_asked", reason=reason, consequence=self.consequence)

    def worked(self) -> None:
        if self.failures:
            log.info("history.asked_again", after_failures=self.failures)
        self.failures = 0


class HistoryReader:
    """Reads from the history service.

    Args:
        url: its address, or what it comes from when it is not known yet.
        http: the client session to use.
        token: gives a token with the scope `context`, if history asks for one.
        seconds: how long an answer may take.
    """

    def __init__(
        self,
        url: str | Awaitable[str],
        *,
        http: aiohttp.ClientSession,
        token: Callable[[], str] | None,
        seconds: float,
    ) -> None:
        self._url = url
        self._http = http
        self._token = token
        self._seconds = seconds
        self._answers = _OutageLog("messages that are sent again are answered anew")
        self._context = _OutageLog("the bot does not remember what was said before a reconnect")

    async def claim(self, client_id: str, message_id: UUID, attempt: int) -> bytes | None:
        """Return the response to a message as history has it, which counts as that of this attempt from now on.

        None: history has none, or cannot be asked.
        """
        path = f"/v1/clients/{quote(client_id)}/answers/{message_id}?attempt={attempt}"
        try:
            frame = await self._ask("POST", path, MAX_ANSWER_BYTES)
            if frame is not None:
                decode_response(frame, max_bytes=MAX_ANSWER_BYTES)
        except (HistoryUnavailable, FrameError) as exc:
            self._answers.failed(str(exc))
            return None
        self._answers.worked()
        return frame

    async def context(self, client_id: str, session_id: UUID) -> list[Said]:
        """Return the last messages of a session, oldest first; none when history has none, or cannot be asked."""
        path = f"/v1/clients/{quote(client_id)}/sessions/{session_id}/context?limit={MAX_MESSAGES}"
        try:
            content = await self._ask("GET", path, MAX_CONTEXT_BYTES)
            said = [] if content is None else list(_said(content))
        except HistoryUnavailable as exc:
            self._context.failed(str(exc))
            return []
        self._context.worked()
        return said

    async def _ask(self, method: str, path: str, most_bytes: int) -> bytes | None:
        """Return what history answers; None: it has no such thing.

        Raises:
            HistoryUnavailable: it did not answer as it should, or not in time.
        """
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token()}"}
        try:
            async with asyncio.timeout(self._seconds):
                if not isinstance(self._url, str):
                    self._url = await asyncio.shield(asyncio.ensure_future(self._url))
                url = f"{self._url.rstrip('/')}{path}"
                async with self._http.request(method, url, headers=headers, allow_redirects=False) as answer:
                    if answer.status == HTTPStatus.NOT_FOUND:
                        return None
                    if answer.status != HTTPStatus.OK:
                        raise HistoryUnavailable(_reason(answer.status))
                    return await _read(answer.content, most_bytes)
        except TimeoutError:
            raise HistoryUnavailable(f"no answer in {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise HistoryUnavailable(f"{type(exc).__name__}: {exc}") from exc


def _reason(status: int) -> str:
    if status in DENYING:
        return f"{status}: set CHAT_CONTEXT_TOKEN to a token with the scope `context` that history accepts"
    return str(status)


async def _read(content: aiohttp.StreamReader, most_bytes: int) -> bytes:
    parts = bytearray()
    async for part in content.iter_any():
        parts += part
        if len(parts) > most_bytes:
            raise HistoryUnavailable(f"an answer of more than {most_bytes:,} bytes")
    return bytes(parts)


def _said(content: bytes) -> Iterator[Said]:
    """Yield what a context of history holds, as the bot remembers it. Errors were not said by the bot.

    Raises:
        HistoryUnavailable: it is none.
    """
    try:
        for message in json.loads(content)["messages"]:
            kind = KINDS.get(message["kind"])
            text = message["text"] or ""
            if kind is None or not isinstance(text, str):
                continue
            if message["direction"] == Direction.REPLY:
                yield Said(Speaker.BOT, text, kind)
            else:
                yield Said(Speaker.CLIENT, text if kind is RequestKind.TEXT else _described(kind, text), kind, text)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise HistoryUnavailable("the answer is no context") from exc


def _described(kind: RequestKind, transcript: str) -> str:
    return f'(a {kind.description}: "{transcript}")' if transcript else f"(a {kind.description})"
