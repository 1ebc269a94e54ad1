"""A chatbot to be a client of, and a folder to be it in."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess, run
from urllib.request import urlopen
from uuid import UUID, uuid4

import aiohttp
import pytest

from devtools.ports import free_port
from devtools.processes import ServiceProcess, running
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from tests.client.command import COMMAND, PATIENCE_SECONDS, environment
from tests.support.exchanges import MORNING, exchange

MILLISECONDS = int(MORNING.timestamp() * 1000)
SAMPLES = Path(__file__).parents[2] / "samples"


@dataclass(frozen=True)
class Chatbot:
    """A running chatbot.

    Attributes:
        url: where clients connect.
        history_url: where they read back.
    """

    url: str
    history_url: str
    service: ServiceProcess


def settings(folder: Path, **more: object) -> dict[str, object]:
    history_port = free_port()
    return {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "HISTORY_PORT": history_port,
        "HISTORY_METRICS_PORT": 0,
        "CHAT_HISTORY_URL": f"http://127.0.0.1:{history_port}",
        "CHAT_DATA_DIR": folder / "chat",
        "HISTORY_DATA_DIR": folder / "history",
        "CHAT_MEDIA_PROCESSES": 1,
        **more,
    }


def as_chatbot(service: ServiceProcess) -> Chatbot:
    return Chatbot(f"ws://127.0.0.1:{service.ports['chat']}", f"http://127.0.0.1:{service.ports['history']}", service)


@pytest.fixture(scope="session")
def chatbot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatbot]:
    """The whole chatbot, shared by tests that do it no harm."""
    folder = tmp_path_factory.mktemp("chatbot")
    with running("standalone", folder / "log", settings(folder)) as service:
        yield as_chatbot(service)


async def keep(chatbot: Chatbot, exchanges: list[Exchange]) -> None:
    """Hand exchanges in, as the chat service does."""
    batch = encode_batch([encode_exchange(each) for each in exchanges])
    async with aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/msgpack"}
        async with http.post(f"{chatbot.history_url}/v1/exchanges", data=BytesIO(batch), headers=headers) as answer:
            results = (await answer.json())["results"]
    assert [result["outcome"] for result in results] == ["stored"] * len(exchanges)


def wait_until_stored(chatbot: Chatbot, client_id: str, text: str) -> None:
    """Wait until history has a message of a client with this in it; the client sees it before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with urlopen(f"{chatbot.history_url}/v1/clients/{client_id}/export", timeout=PATIENCE_SECONDS) as messages:
            if text in messages.read().decode():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


Cli = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs `chat-client` in a folder of its own, without a terminal."""

    def chat_client(*words: object, stdin: str = "", **variables: str) -> "CompletedProcess[str]":
        return run(
            [*COMMAND, *map(str, words)],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=environment(**{"XDG_CONFIG_HOME": str(tmp_path / ".config"), **variables}),
        )

    return chat_client


def exchange_id(client_id: str, session: int, minute: int) -> UUID:
    """Return an id of version 7 that no other test has."""
    of_client = int(client_id[-8:], 16)
    return UUID(int=(MILLISECONDS + minute * 60_000) << 80 | 0x7 << 76 | 0x8 << 60 | of_client << 4 | session)


@pytest.fixture
def client_id() -> str:
    return f"client-{uuid4().hex[:8]}"


@pytest.fixture
async def sessions(chatbot: Chatbot, client_id: str) -> list[UUID]:
    """Two sessions with three exchanges each, one a minute; their ids have sixteen digits in common."""
    base = uuid4().int >> 64 << 64
    ids = [UUID(int=base | 0xA << 60), UUID(int=base | 0xB << 60)]
    await keep(
        chatbot,
        [
            exchange(
                f"message {session}{minute}",
                id_=exchange_id(client_id, session, minute),
                session_id=ids[session],
                client_id=client_id,
                at=MORNING + timedelta(minutes=minute),
            )
            for minute in range(3)
            for session in range(2)
        ],
    )
    return ids
