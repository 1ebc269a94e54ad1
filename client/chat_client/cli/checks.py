"""The checks of `doctor`, in order, and their findings."""

import asyncio
import base64
import json
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from chat_client.address import connect_address, http_address
from chat_client.chat import connect
from chat_client.cli.advice import advice_on, advised
from chat_client.errors import ClientError, Refused, Unreachable
from chat_client.history import History
from chat_client.installation import is_history
from chat_client.link import Timing
from chat_client.proxy import proxy_for
from chat_client.zone import HOW_TO_SET, LocalZone
from frameproto.connection import CONNECT_PATH, WELL_KNOWN_PATH, Parameter
from frameproto.denials import TEMPORARY_DENIALS, DenialCode

ANSWER_SECONDS: Final = 10.0
PINGS: Final = 5
NOTED_SKEW_SECONDS: Final = 5.0  # the Date of an answer has whole seconds
TOKEN_LEEWAY_SECONDS: Final = 10.0
SOON_SECONDS: Final = 300.0


class Level(StrEnum):
    """How a check went."""

    OK = "ok"
    NOTE = "note"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: what was found, and of trouble what to do and the exit code."""

    check: str
    level: Level
    said: str
    advice: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP: its status, its JSON (of anything else nothing), the sender's clock beside ours."""

    status: int
    content: dict[str, Any]
    skew_seconds: float | None


def ok(check: str, said: str) -> Finding:
    """Return a finding of nothing wrong."""
    return Finding(check, Level.OK, said)


def note(check: str, said: str, advice: str = "") -> Finding:
    """Return a finding that may matter."""
    return Finding(check, Level.NOTE, said, advice)


def error(check: str, said: str, advice: str, exit_code: int) -> Finding:
    """Return a finding that is in the way."""
    return Finding(check, Level.ERROR, said, advice, exit_code)


@dataclass(slots=True, kw_only=True)
class Checks:
    """What is looked at, and for whom."""

    url: str
    client_id: str
    zone: LocalZone
    token: str | None
    history_url: str | None

    async def run(self) -> AsyncIterator[Finding]:
        """Yield a finding for each check. What depends on something that is in the way is left out."""
        try:
            connect_address(self.url)
        except Unreachable as exc:
            yield error("address", str(exc), "give the address of the chat service, ws://… or wss://…", exc.exit_code)
            return
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            yield self._proxy()
            try:
                described = await _get(http, http_address(self.url) + WELL_KNOWN_PATH)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
                yield _unreachable(self.url, exc)
                return
            yield ok("address", f"{connect_address(self.url)} answers")
            service = await self._service(described)
            yield service
            if service.level is Level.ERROR:
                return
            asks_for_tokens = described.content.get("auth") == "jwt"
            yield self._clock(described, asks_for_tokens=asks_for_tokens)
            admission = await self._preflight(http)
        async for finding in self._admission(admission, asks_for_tokens=asks_for_tokens):
            yield finding
        if admission.content.get("code") == DenialCode.UPGRADE_REQUIRED:
            yield await self._latency()
        yield await self._history(described.content.get("history"))

    def _proxy(self) -> Finding:
        """Say through which proxy conversation and history go."""
        talk, read = proxy_for(connect_address(self.url)), proxy_for(http_address(self.url))
        if talk is None and read is None:
            return ok("proxy", "none is used for this address")
        if talk == read:
            return ok("proxy", f"{talk}, which the environment names")
        said = f"the conversation goes {_through(talk)}, plain requests go {_through(read)}"
        return note("proxy", said, "set HTTP_PROXY, HTTPS_PROXY or NO_PROXY so that both go the same way")

    async def _service(self, described: Answer) -> Finding:
        """Say what answers."""
        content = described.content
        if described.status == 200 and "connect" in content:  # noqa: PLR2004 - OK
            versions = ", ".join(map(str, content.get("subprotocols", [])))
            tokens = "asks for tokens" if content.get("auth") == "jwt" else "asks for no tokens"
            return ok("service", f"a chat service, which speaks {versions} and {tokens}")
        if await asyncio.to_thread(is_history, self.url):
            said = f"{self.url} is the history service"
            return error("service", said, "give the address of the chat service, usually port 8000", 3)
        if described.status == 404:  # noqa: PLR2004 - Not Found
            return note("service", "what answers does not describe itself; it may be an older chat service")
        said = f"what answers is not a chat service: it said {described.status}"
        return error("service", said, "look whether the address is right, and what stands before the service", 5)

    def _clock(self, described: Answer, *, asks_for_tokens: bool) -> Finding:
        skew = described.skew_seconds
        if skew is None:
            return note("clock", "the server does not tell its time")
        if abs(skew) <= NOTED_SKEW_SECONDS:
            return ok("clock", "agrees with that of the server")
        said = f"this clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} that of the server"
        advice = "set the clock of this machine by the network"
        if asks_for_tokens and abs(skew) > TOKEN_LEEWAY_SECONDS:
            return error("clock", said, f"{advice}; tokens that are made here may be valid too early or too late", 3)
        return note("clock", said, advice)

    async def _preflight(self, http: aiohttp.ClientSession) -> Answer:
        """Ask what a handshake would meet now; this takes no slot."""
        query = {Parameter.CLIENT_ID.value: self.client_id, Parameter.TIME_ZONE.value: self.zone.name}
        url = f"{http_address(self.url)}{CONNECT_PATH}?{urlencode(query, quote_via=quote)}"
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            return await _get(http, url, headers)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            return Answer(0, {"code": "", "detail": str(exc) or "no answer in time"}, None)

    async def _admission(self, answer: Answer, *, asks_for_tokens: bool) -> AsyncIterator[Finding]:
        """Say what is wrong with zone, token and client, and whether the client would be let in."""
        code, detail = str(answer.content.get("code", "")), str(answer.content.get("detail") or "no reason was given")
        refused = error("", f"refused ({answer.status} {code}): {detail}", advice_on(code), 3)
        about_zone, about_token = code.startswith("time_zone_"), code.startswith("token_")
        if about_zone:
            yield _of("zone", refused)
        elif self.zone.note:
            yield note(
                "zone", f"{self.zone.name}: {self.zone.note}", "" if HOW_TO_SET in self.zone.note else HOW_TO_SET
            )
        else:
            yield ok("zone", self.zone.name)
        own = _token_finding(self.token, self.client_id, asks_for_tokens=asks_for_tokens)
        yield _of("token", refused) if about_token and own.level is not Level.ERROR else own
        if about_zone or about_token:
            return
        if code == DenialCode.UPGRADE_REQUIRED:
            yield ok("admission", f"{self.client_id} would be let in now")
        elif code in TEMPORARY_DENIALS:
            place, seconds = answer.content.get("place"), answer.content.get("seconds")
            left = f", for {seconds} s more at most" if isinstance(seconds, int) else ""
            queue = f"; place {place} in the queue" if isinstance(place, int) else ""
            yield error("admission", f"{detail} ({code}){left}{queue}", advice_on(code), 3)
        else:
            yield _of("admission", refused)

    async def _latency(self) -> Finding:
        """Connect for a moment, and measure how long a ping takes."""
        started = time.monotonic()
        try:
            async with connect(
                self.url,
                client_id=self.client_id,
                time_zone=self.zone.name,
                token=self.token,
                timing=Timing(open_seconds=ANSWER_SECONDS),
                patience_seconds=0,
            ) as chat:
                opened = time.monotonic() - started
                pings = [await chat.round_trip_seconds() for _ in range(PINGS)]
        except ClientError as exc:
            return error(
                "latency", advised(exc), "a proxy or balancer on the way may not pass WebSocket on", exc.exit_code
            )
        return ok(
            "latency",
            f"connected in {opened * 1000:.0f} ms; a round trip takes {statistics.median(pings) * 1000:.1f} ms "
            f"({max(pings) * 1000:.1f} ms at most)",
        )

    async def _history(self, told: object) -> Finding:
        """Read a page of history."""
        address = self.history_url or (told if isinstance(told, str) else http_address(self.url))
        named = "from --history" if self.history_url else "named by the chat service"
        started = time.monotonic()
        try:
            async with History(address, token=self.token, seconds=ANSWER_SECONDS) as history:
                async for _ in history.sessions(self.client_id):
                    break
        except Refused as exc:
            return error("history", f"{address} ({named}): {exc}", advice_on(exc.code), exc.exit_code)
        except ClientError as exc:
            advice = "name another address by --history, or ask the operator for CHAT_PUBLIC_HISTORY_URL"
            return error("history", f"{exc} ({named})", advice, exc.exit_code)
        return ok("history", f"{address} answers in {(time.monotonic() - started) * 1000:.0f} ms")


async def _get(http: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> Answer:
    asked = datetime.now(UTC)
    async with http.get(url, headers=headers, allow_redirects=False) as response:
        ours = asked + (datetime.now(UTC) - asked) / 2
        content: object = None
        with suppress(ValueError):
            content = json.loads(await response.content.read(64 * 1024))
        skew = None
        with suppress(ValueError, KeyError, TypeError):
            skew = (parsedate_to_datetime(response.headers["Date"]) - ours).total_seconds()
        return Answer(response.status, content if isinstance(content, dict) else {}, skew)


def _unreachable(url: str, exc: Exception) -> Finding:
    where = urlsplit(connect_address(url))
    cause = getattr(exc, "os_error", exc)
    if proxy := proxy_for(http_address(url)):
        return error("address", f"{url} cannot be reached through {proxy}: {exc}", "look whether the proxy is right", 5)
    match cause:
        case socket.gaierror():
            said, advice = f"there is no host {where.hostname}", "look for a typing error; is a VPN needed?"
        case ssl.SSLError():
            said, advice = (
                f"{where.netloc} does not speak TLS as it should: {cause}",
                "try ws:// for wss://, or ask who runs it",
            )
        case ConnectionRefusedError():
            said = f"nothing listens at {where.netloc}"
            advice = "start the server, or give the port that it has"
        case TimeoutError():
            said = f"{where.netloc} did not answer within {ANSWER_SECONDS:g} s"
            advice = "a firewall may be in the way; is the port right?"
        case _:
            said, advice = f"{where.netloc} cannot be reached: {exc}", "look whether the address and its port are right"
    return error("address", said, advice, 5)


def _token_finding(token: str | None, client_id: str, *, asks_for_tokens: bool) -> Finding:
    """Say what can be seen of a token here; only the server can tell whether its signature is right."""
    if token is None:
        if asks_for_tokens:
            return error(
                "token", "the server asks for a token, and none was given", advice_on(DenialCode.TOKEN_MISSING), 3
            )
        return ok("token", "none was given, and none is needed")
    try:
        raw = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
        subject, left = claims.get("sub"), float(claims["exp"]) - time.time()
    except (ValueError, LookupError, TypeError, AttributeError):
        return error(
            "token", "what was given is not a JSON Web Token with an end", advice_on(DenialCode.TOKEN_MALFORMED), 3
        )
    if left <= 0:
        found = error("token", f"it expired {_words(-left)} ago", advice_on(DenialCode.TOKEN_EXPIRED), 3)
    elif subject != client_id:
        found = error("token", f"it is for {subject}, not for {client_id}", advice_on(DenialCode.CLIENT_NOT_YOURS), 3)
    elif left < SOON_SECONDS:
        found = note("token", f"it is for {subject}, and expires in {_words(left)}", "get a new one soon")
    else:
        found = ok("token", f"it is for {subject}, and expires in {_words(left)}")
    return found


def _words(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _through(proxy: str | None) -> str:
    return f"through {proxy}" if proxy else "there directly"


def _of(check: str, finding: Finding) -> Finding:
    return Finding(check, finding.level, finding.said, finding.advice, finding.exit_code)
