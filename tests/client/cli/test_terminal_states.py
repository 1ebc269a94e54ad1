"""The command on a terminal while something takes its time: a reply that grows, a queue, a server that dies."""

import asyncio
import fcntl
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection

from devtools.processes import ServiceProcess, running, start
from devtools.valkey import run_valkey
from permits.redis import PoolOperator
from tests.client.command import Terminal, on_terminal
from tests.client.conftest import SAMPLES, Chatbot, as_chatbot, keep, settings, wait_until_stored
from tests.client.standins import said, speaking, talking
from tests.support.exchanges import exchange

BOT = '''
import asyncio
from pathlib import Path

GO = Path(__file__).parent / "go"


async def bot(turn, memory):
    """Begin a reply, and end it when the test says so."""
    if turn.text.startswith("say "):
        yield turn.text[4:]
        return
    yield "first part, "
    while not GO.exists():
        await asyncio.sleep(0.02)
    yield "second part"
'''


@contextmanager
def server(folder: Path, **more: object) -> Iterator[tuple[ServiceProcess, dict[str, object]]]:
    """Run a chatbot whose bot goes on when there is a file `go`."""
    (folder / "bot_of_the_test.py").write_text(BOT)
    given = {**settings(folder), "CHAT_BOT": "bot_of_the_test:bot", "PYTHONPATH": str(folder), **more}
    with running("standalone", folder / "log", given) as service:
        yield service, given


def resize(terminal: Terminal, columns: int) -> None:
    fcntl.ioctl(terminal.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)


def test_a_reply_grows_as_it_comes(tmp_path: Path) -> None:
    with (
        server(tmp_path) as (service, _),
        on_terminal(tmp_path, "connect", as_chatbot(service).url, "--client-id", "tess") as terminal,
    ):
        terminal.expect("/help lists")
        terminal.type("tell me\r")
        terminal.expect("bot  first part,")
        terminal.expect("the bot thinks")
        assert "second" not in terminal.shown
        (tmp_path / "go").touch()
        terminal.expect("bot  first part, second part")
        terminal.type("/quit\r")
        assert terminal.wait() == 0


def test_ctrl_c_takes_a_growing_reply_back_and_keeps_the_conversation(tmp_path: Path) -> None:
    with (
        server(tmp_path) as (service, _),
        on_terminal(tmp_path, "connect", as_chatbot(service).url, "--client-id", "tess") as terminal,
    ):
        terminal.expect("/help lists")
        terminal.type("tell me\r")
        terminal.expect("bot  first part,")
        terminal.process.send_signal(signal.SIGINT)
        terminal.expect("taken back")
        terminal.type("say we go on\r")
        terminal.expect("bot  we go on")
        terminal.process.send_signal(signal.SIGINT)  # at the prompt
        terminal.expect("goodbye; session ")
        assert terminal.wait() == 130
        assert "Traceback" not in terminal.shown


def test_the_place_in_the_queue_is_told_while_it_lasts(tmp_path: Path) -> None:
    full = {"CHAT_MAX_CONNECTIONS": 1, "CHAT_CONNECT_WAIT_SECONDS": 60}
    with server(tmp_path, **full) as (service, _):
        url = as_chatbot(service).url
        with on_terminal(tmp_path, "connect", url, "--client-id", "first") as first:
            first.expect("/help lists")
            with on_terminal(tmp_path, "connect", url, "--client-id", "second") as second:
                second.expect("place 1 in the queue, ")
                second.process.send_signal(signal.SIGINT)
                assert second.wait() == 130
                assert "Traceback" not in second.shown
            with on_terminal(tmp_path, "connect", url, "--client-id", "third") as third:
                third.expect("place 1 in the queue, ")
                first.type("/quit\r")
                assert first.wait() == 0
                third.expect("connected as third")
                third.type("/quit\r")
                assert third.wait() == 0


async def trust_connections(store_url: str) -> None:
    async with Redis.from_url(store_url) as redis:
        await PoolOperator("connections", redis).trust()


def test_a_server_whose_store_is_new_says_for_how_long_nobody_is_let_in(tmp_path: Path) -> None:
    with (
        run_valkey(tmp_path) as valkey,
        server(tmp_path, CHAT_REDIS_URL=valkey.url, CHAT_LEASE_SECONDS=600, CHAT_CONNECT_WAIT_SECONDS=60) as (
            service,
            _,
        ),
        on_terminal(tmp_path, "connect", as_chatbot(service).url, "--client-id", "early") as terminal,
    ):
        terminal.expect("the server is recovering its limits, for 5")
        terminal.expect("s more at most; place 1 in the queue")
        asyncio.run(trust_connections(valkey.url))
        terminal.expect("connected as early")
        assert "all slots are taken" not in terminal.shown
        terminal.type("/quit\r")
        assert terminal.wait() == 0


def test_a_server_that_is_killed_in_the_middle_of_a_reply_answers_after_its_restart(tmp_path: Path) -> None:
    with (
        server(tmp_path) as (service, given),
        on_terminal(tmp_path, "connect", as_chatbot(service).url, "--client-id", "tess") as terminal,
    ):
        terminal.expect("/help lists")
        terminal.type("tell me\r")
        terminal.expect("bot  first part,")
        service.process.kill()
        service.process.wait()
        terminal.expect("next attempt in")
        (tmp_path / "go").touch()
        again = start("standalone", tmp_path / "log-again", {**given, "CHAT_PORT": service.ports["chat"]})
        try:
            terminal.expect("connected again")
            terminal.expect("bot  first part, second part")
            terminal.type("/quit\r")
            assert terminal.wait() == 0
        finally:
            again.stop()


async def test_ctrl_c_stops_a_look_into_history(chatbot: Chatbot, tmp_path: Path) -> None:
    def talk(port: int) -> None:
        where = ("--client-id", "tess", "--history", f"http://127.0.0.1:{port}")
        with on_terminal(tmp_path, "connect", chatbot.url, *where) as terminal:
            terminal.expect("/help lists")
            terminal.type("/search words\r")
            assert asked.wait(60)
            terminal.process.send_signal(signal.SIGINT)
            terminal.expect("stopped")
            terminal.type("say we go on\r")
            terminal.expect("bot  we go on")
            terminal.type("/quit\r")
            assert terminal.wait() == 0

    asked = threading.Event()

    async def hear(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with speaking(hear) as port:
        await asyncio.to_thread(talk, port)


def test_a_reply_is_wrapped_at_the_width_that_the_terminal_has_now(chatbot: Chatbot, tmp_path: Path) -> None:
    words = "the quick brown fox jumps over the lazy dog and runs through the whole wide forest"
    with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess", COLUMNS="", LINES="") as terminal:
        resize(terminal, 100)
        terminal.expect("/help lists")
        for columns in (80, 30):
            resize(terminal, columns)
            terminal.type(f"say {words}\r")
            terminal.expect("bot  ")
            reply = terminal.expect("forest")
            assert len(reply.splitlines()) == (2 if columns == 80 else 5)
            assert max(map(len, reply.splitlines()[1:])) <= columns
        terminal.type("/quit\r")
        assert terminal.wait() == 0


async def test_lists_fit_a_narrow_terminal(chatbot: Chatbot, tmp_path: Path) -> None:
    await keep(chatbot, [exchange("many words " * 20, client_id="narrow", session_id=uuid4())])
    where = {"CHAT_HISTORY_URL": chatbot.history_url, "CHAT_CLIENT_ID": "narrow", "COLUMNS": "44", "TZ": "Asia/Tokyo"}
    for command in ("sessions", "history"):
        with on_terminal(tmp_path, command, **where) as terminal:
            terminal.expect("Europe/Berlin")  # of the session; history says that the times are those of another zone
            assert terminal.wait() == 0
        assert max(map(len, terminal.shown.splitlines())) <= 44


def test_few_characters_are_enough(chatbot: Chatbot, tmp_path: Path) -> None:
    for variables in (
        {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    ):
        with on_terminal(tmp_path, "connect", chatbot.url, "--client-id", "tess", **variables) as terminal:
            terminal.expect("/help lists")
            terminal.type("say - **five** six\r")
            terminal.expect("bot")
            terminal.expect(" five six")
            terminal.type("/quit\r")
            assert terminal.wait() == 0
            assert "Traceback" not in terminal.shown
        words = ("send", "text", chatbot.url, "say five → six", "--client-id", "tess")
        with on_terminal(tmp_path, *words, **variables) as terminal:
            terminal.expect("bot  five ? six")
            assert terminal.wait() == 0


def test_ids_and_files_of_the_right_kind_are_completed(chatbot: Chatbot, tmp_path: Path) -> None:
    for name in ("some-voice.mp3", "some-words.txt", "some-video.mp4"):
        (tmp_path / name).write_bytes((SAMPLES / "hello.mp3").read_bytes())
    where = ("--client-id", "completes", "--history", chatbot.history_url)
    with on_terminal(tmp_path, "connect", chatbot.url, *where) as terminal:
        terminal.expect("/help lists")
        terminal.type("/voice some-vo\t")
        terminal.expect("ice.mp3")
        terminal.type("\r")
        terminal.expect("Thank you for your voice note")
        wait_until_stored(chatbot, "completes", "Thank you for your voice note")
        terminal.type("/history\r")
        terminal.expect(".reply voice")
        terminal.type("/play \t")
        terminal.expect(".re")
        terminal.type("\x15/voice some\t")
        terminal.expect("some-v")
        assert "some-words" not in terminal.shown
        terminal.type("\x15/quit\r")
        assert terminal.wait() == 0


def test_a_picture_is_shown_where_the_terminal_can(chatbot: Chatbot, tmp_path: Path) -> None:
    words = ("send", "video", chatbot.url, SAMPLES / "hello.mp4", "--client-id", "tess")
    for program, shows in (("WezTerm", True), ("", False)):
        with on_terminal(tmp_path, *words, TERM_PROGRAM=program, TMUX="", STY="") as terminal:
            assert terminal.wait() == 0
        assert ("\x1b]1337;File=inline=1;" in terminal.raw) is shows


async def test_over_v1_a_message_that_was_lost_is_in_the_prompt_again(tmp_path: Path) -> None:
    connections = 0

    async def break_first(websocket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        async for _ in websocket:
            if connections == 1:
                await websocket.close(1012)
                return
            await websocket.send(said("the second time"))

    def talk(url: str) -> None:
        with on_terminal(tmp_path, "connect", url, "--client-id", "tess") as terminal:
            terminal.expect("/help lists")
            terminal.type("hello again\r")
            shown = terminal.expect("it may have been answered")
            assert shown.count("error") == 1  # the loss is not told by itself, too
            terminal.expect("> hello again")
            terminal.type("\r")
            terminal.expect("bot  the second time")
            terminal.type("/quit\r")
            assert terminal.wait() == 0

    async with talking(break_first) as url:
        await asyncio.to_thread(talk, url)
    assert connections == 2
