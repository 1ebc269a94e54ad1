"""A bot that is an HTTP service of its own, in any language: one POST for each turn (docs/bots.md).

The request is signed so that the service knows who asks: `X-Chatbot-Signature: t=<unix seconds>,v1=<hex>`, where the
hex is HMAC-SHA256 of `<unix seconds>.<body>` under the shared secret. The scheme is that of webhooks elsewhere: the
time inside the signature keeps old requests from being sent again.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import SecretStr

from botkit import BotError, Memory, Turn
from servicekit.logs import get_logger

log = get_logger(__name__)

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
SIGNATURE_HEADER: Final = "X-Chatbot-Signature"
MAX_LINE_BYTES: Final = 256 * 1024
RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpBot:
    """Asks a service for each reply; an asynchronous context manager.

    Args:
        url: where turns are posted.
        secret: shared with the service; None: requests are not signed.
        max_characters: more of a reply is not read.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(
        self, url: str, *, secret: SecretStr | None, max_characters: int, now: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._secret = secret
        self._max_bytes = 4 * max_characters + MAX_LINE_BYTES  # UTF-8 has four bytes a character at most
        self._now = now
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), read_bufsize=MAX_LINE_BYTES, auto_decompress=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
        """Yield what the service says, in pieces when it answers in lines.

        Raises:
            BotError: the service cannot be reached, or does not answer as it should.
        """
        assert self._http is not None  # noqa: S101 - entered before its first turn
        body = json.dumps(turn_document(turn, memory)).encode()
        headers = {"Content-Type": JSON, "Accept": f"{NDJSON}, {JSON}", **self._signature(body)}
        try:
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                if answer.status != 200:  # noqa: PLR2004 - the one status that has a reply
                    log.warning("bot.service_refused", status=answer.status)
                    raise BotError("the bot's service refused this message", retryable=answer.status in RETRYABLE)
                async for piece in self._pieces(answer):
                    yield piece
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RecursionError) as exc:
            log.warning("bot.service_failed", reason=f"{type(exc).__name__}: {exc}"[:300])
            raise BotError("the bot's service did not answer as it should; send it again", retryable=True) from exc

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
        read = 0
        if answer.content_type != NDJSON:
            raw = await answer.content.read(self._max_bytes)
            while raw and not answer.content.at_eof() and len(raw) < self._max_bytes:
                raw += await answer.content.read(self._max_bytes - len(raw))
            try:
                document = json.loads(raw)
            except ValueError as exc:
                raise ValueError(f"{answer.content_type} instead of {JSON} or {NDJSON}: {exc}") from exc
            yield _text(document)
            return
        async for line in answer.content:
            read += len(line)
            if line.strip():
                document = json.loads(line)
                if isinstance(document, dict) and document.get("error"):
                    raise _error(document)
                yield _text(document)
            if read > self._max_bytes:
                return

    def _signature(self, body: bytes) -> dict[str, str]:
        if self._secret is None:
            return {}
        return {SIGNATURE_HEADER: sign(body, self._secret.get_secret_value().encode(), int(self._now()))}


def sign(body: bytes, secret: bytes, seconds: int) -> str:
    """Return the signature of a request: when it was made, and the proof of it."""
    proof = hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={proof}"


def turn_document(turn: Turn, memory: Memory) -> dict[str, Any]:
    """Return what the service is told of a turn, as JSON has it."""
    document: dict[str, Any] = {
        "kind": turn.kind.message_kind.value,
        "client_id": turn.client_id,
        "session_id": str(turn.session_id) if turn.session_id else None,
        "local_time": turn.local_time.isoformat(),
        "time_zone": str(turn.local_time.tzinfo),
        "text": turn.text,
        "transcript": turn.transcript and {"text": turn.transcript.text, "language": turn.transcript.language},
        "memory": [{"speaker": each.speaker.value, "text": each.text} for each in memory],
    }
    if turn.audio is not None:
        document["voice"] = {
            "seconds": turn.audio.seconds,
            "whole": turn.audio.whole,
            "silent": turn.audio.silent,
        }
    if turn.video is not None:
        document["video"] = {
            "seconds": turn.video.seconds,
            "width": turn.video.width,
            "height": turn.video.height,
            "has_sound": turn.video.has_sound,
            "shots": turn.video.shots,
            "poster": base64.b64encode(turn.video.picture).decode(),
        }
    return document


def _text(document: Any) -> str:  # noqa: ANN401 - whatever the service sent
    if isinstance(document, dict) and document.get("error"):
        raise _error(document)
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise BotError("the bot's service answered something else than text", retryable=False)
    return text


def _error(document: dict[str, Any]) -> BotError:
    error = document["error"]
    if isinstance(error, dict):  # as many services have it
        error = error.get("message")
    retryable = bool(document.get("retryable"))
    return BotError(error[:200], retryable=retryable) if isinstance(error, str) else BotError(retryable=retryable)
