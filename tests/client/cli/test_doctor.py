"""What `doctor` finds: one thing that is wrong in each test."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from chat_client.cli.checks import Checks, Finding, Level
from chat_client.tokens import mint
from chat_client.zone import LocalZone
from devtools.ports import free_port
from frameproto.connection import CONNECT_PATH, WELL_KNOWN_PATH
from tests.client.command import on_terminal
from tests.client.conftest import Chatbot, Cli
from tests.client.standins import answering, speaking

SECRET = "s" * 32
ALL = ["proxy", "address", "service", "clock", "zone", "token", "admission", "latency", "history"]


def token_of(subject: str = "anna", seconds: int = 3600) -> str:
    return mint(SECRET, subject=subject, audience="chatbot", lifetime=timedelta(seconds=seconds))


async def found(
    url: str,
    *,
    of: str = "anna",
    zone: LocalZone | None = None,
    token: str | None = None,
    history_url: str | None = None,
) -> dict[str, Finding]:
    where = zone or LocalZone("Europe/Berlin")
    checks = Checks(url=url, client_id=of, zone=where, token=token, history_url=history_url)
    return {finding.check: finding async for finding in checks.run()}


def a_chatbot(
    *, auth: str = "none", denial: tuple[int, dict[str, object]] = (426, {"code": "upgrade_required"}), ahead: float = 0
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        date = {"Date": format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)}
        if request.path == WELL_KNOWN_PATH:
            said = {"connect": CONNECT_PATH, "history": None, "subprotocols": ["chatbot.v1"], "auth": auth}
            return web.json_response(said, headers=date)
        if request.path == CONNECT_PATH:
            return web.json_response(denial[1], status=denial[0], headers=date)
        return web.json_response({"sessions": [], "next": None}, headers=date)

    return answer


async def test_nothing_is_wrong(chatbot: Chatbot) -> None:
    findings = await found(chatbot.url)
    assert list(findings) == ALL
    assert {finding.level for finding in findings.values()} == {Level.OK}
    assert "round trip" in findings["latency"].said
    assert chatbot.history_url in findings["history"].said


def test_the_command(chatbot: Chatbot, cli: Cli) -> None:
    fine = cli("doctor", chatbot.url, "--client-id", "anna", "--time-zone", "Asia/Tokyo")
    assert (fine.returncode, fine.stderr) == (0, "")
    assert [line.split()[:2] for line in fine.stdout.splitlines()] == [["ok", check] for check in ALL]
    assert "Asia/Tokyo" in fine.stdout
    wrong = cli("doctor", chatbot.url, "--client-id", "anna", "--time-zone", "Middle/Earth", "--json")
    assert wrong.returncode == 3
    zone = next(line for line in map(json.loads, wrong.stdout.splitlines()) if line["check"] == "zone")
    assert zone["status"] == "error"
    assert "time_zone_unknown" in zone["detail"]
    assert "--time-zone" in zone["advice"]
    assert cli("doctor", f"ws://127.0.0.1:{free_port()}", "--client-id", "anna").returncode == 5
    assert cli("doctor", "ftp://x", "--client-id", "anna").returncode == 5
    history = cli("doctor", chatbot.history_url, "--client-id", "anna")
    assert history.returncode == 3
    assert f"{chatbot.history_url} is the history service" in history.stdout


def test_on_a_terminal_words_are_wrapped(chatbot: Chatbot, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "doctor", chatbot.url, "--client-id", "a b", COLUMNS="50") as terminal:
        assert terminal.wait() == 3
    assert max(map(len, terminal.shown.splitlines())) <= 50
    assert "give another client id" in terminal.shown


async def test_an_address_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for url, says in (
        (f"ws://127.0.0.1:{port}", f"nothing listens at 127.0.0.1:{port}"),
        ("ws://no-such-host.invalid", "there is no host no-such-host.invalid"),
    ):
        findings = await found(url)
        assert list(findings) == ["proxy", "address"]
        assert says in findings["address"].said
        assert findings["address"].exit_code == 5
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    findings = await found("ws://chat.example")
    assert f"http://127.0.0.1:{port}" in findings["proxy"].said
    assert f"through http://127.0.0.1:{port}" in findings["address"].said


async def test_something_else_answers() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")

    async with speaking(babble) as port:
        assert (await found(f"ws://127.0.0.1:{port}"))["address"].level is Level.ERROR

    async def welcome(_request: web.Request) -> web.Response:
        return web.Response(text="<h1>Welcome</h1>", content_type="text/html")

    async with answering(welcome) as url:
        service = (await found(url))["service"]
        assert (service.level, service.exit_code) == (Level.ERROR, 5)
        assert "is not a chat service: it said 200" in service.said


@pytest.mark.parametrize(
    ("ahead", "auth", "level", "says"),
    [
        (0, "jwt", Level.OK, "agrees"),
        (60, "none", Level.NOTE, "s behind"),
        (-3600, "none", Level.NOTE, "s ahead of"),
        (60, "jwt", Level.ERROR, "s behind"),
    ],
)
async def test_the_clock(ahead: float, auth: str, level: Level, says: str) -> None:
    async with answering(a_chatbot(ahead=ahead, auth=auth)) as url:
        clock = (await found(url, token=token_of()))["clock"]
    assert clock.level is level
    assert says in clock.said


@pytest.mark.parametrize(
    ("auth", "given", "level", "says"),
    [
        ("none", None, Level.OK, "none is needed"),
        ("jwt", None, Level.ERROR, "none was given"),
        ("jwt", "abc", Level.ERROR, "is not a JSON Web Token"),
        ("jwt", "a.bm8.c", Level.ERROR, "is not a JSON Web Token"),
        ("jwt", ("anna", 36_000), Level.OK, "expires in 10 h"),
        ("jwt", ("anna", 100), Level.NOTE, "expires in"),
        ("jwt", ("anna", -60), Level.ERROR, "it expired"),
        ("jwt", ("bob", 3600), Level.ERROR, "it is for bob, not for anna"),
    ],
)
async def test_the_token(auth: str, given: str | tuple[str, int] | None, level: Level, says: str) -> None:
    shown = token_of(*given) if isinstance(given, tuple) else given
    async with answering(a_chatbot(auth=auth)) as url:
        finding = (await found(url, token=shown))["token"]
    assert finding.level is level
    assert says in finding.said
    assert (level is Level.ERROR) is bool(finding.exit_code)


async def test_what_the_server_says_of_the_token_counts() -> None:
    denial: tuple[int, dict[str, object]] = 401, {"code": "token_invalid", "detail": "signed by somebody else"}
    async with answering(a_chatbot(auth="jwt", denial=denial)) as url:
        findings = await found(url, token=token_of())
    assert "signed by somebody else" in findings["token"].said
    assert "admission" not in findings
    assert findings["history"].level is Level.OK


@pytest.mark.parametrize(
    ("denial", "says"),
    [
        ((503, {"code": "cluster_full", "detail": "all slots are taken", "place": 3}), "place 3 in the queue"),
        ((503, {"code": "limits_learning", "detail": "recovering", "seconds": 9}), "for 9 s more at most"),
        ((429, {"code": "client_limit", "detail": "too many"}), "too many"),
        ((403, {"code": "client_not_yours", "detail": "not yours"}), "not yours"),
        ((500, {}), "no reason was given"),
    ],
)
async def test_admission(denial: tuple[int, dict[str, object]], says: str) -> None:
    async with answering(a_chatbot(denial=denial)) as url:
        findings = await found(url)
    assert (findings["admission"].level, findings["admission"].exit_code) == (Level.ERROR, 3)
    assert says in findings["admission"].said
    assert "latency" not in findings


async def test_websocket_does_not_come_through() -> None:
    async with answering(a_chatbot()) as url:
        latency = (await found(url))["latency"]
    assert latency.level is Level.ERROR
    assert "WebSocket" in latency.advice


async def test_history_that_does_not_answer_and_a_zone_that_is_a_guess(chatbot: Chatbot) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    guess = LocalZone("+01:00", "this machine names no time zone")
    findings = await found(chatbot.url, history_url=nowhere, zone=guess)
    assert (findings["history"].level, findings["history"].exit_code) == (Level.ERROR, 5)
    assert nowhere in findings["history"].said
    assert findings["zone"].level is Level.NOTE
    assert "--time-zone" in findings["zone"].advice
