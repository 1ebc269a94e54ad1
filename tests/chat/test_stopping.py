"""Signals at awkward moments, sent to real processes: the exit code is one of the table in docs/operations.md."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools.processes import running
from devtools.programs import settings_of
from frameproto import Request, RequestKind, encode_request
from tests.chat.server_parts import masked, upgrade
from tests.support.websocket_peer import Peer

SECONDS = 60.0
ANY_PORTS = {f"{name}_PORT": 0 for name in ("CHAT", "CHAT_METRICS", "HISTORY", "HISTORY_METRICS")}
BUSY_IMPORT = """
import pathlib, time
pathlib.Path("reached").touch()
time.sleep(600)
"""


@contextmanager
def starting(module: str, folder: Path, settings: Mapping[str, object]) -> Iterator["subprocess.Popen[str]"]:
    """Begin to start a service that will not get far."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env=settings_of({**ANY_PORTS, **settings}),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def end(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str]:
    """Send a signal, and return the exit code and what was written."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=SECONDS)
    return process.returncode, output


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline, f"{path.name} is not reached"
        time.sleep(0.01)


@pytest.mark.parametrize("module", ["chat_service", "history_service", "standalone"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_modules_are_loaded_ends_with_0(tmp_path: Path, module: str, number: signal.Signals) -> None:
    (tmp_path / "uvicorn.py").write_text(BUSY_IMPORT)
    with starting(module, tmp_path, {"PYTHONPATH": tmp_path}) as process:
        wait_for(tmp_path / "reached", process)
        assert end(process, number) == (0, "")


@pytest.mark.parametrize("module", ["chat_service", "standalone"])
def test_a_signal_while_media_workers_start_ends_with_0(tmp_path: Path, module: str) -> None:
    (tmp_path / "espeakng_loader.py").write_text(BUSY_IMPORT.replace("reached", str(tmp_path / "reached")))
    with starting(module, tmp_path, {"PYTHONPATH": tmp_path}) as process:
        wait_for(tmp_path / "reached", process)
        code, output = end(process, signal.SIGTERM)
        assert code == 0
        assert "Traceback" not in output


@pytest.mark.parametrize(
    ("module", "setting", "address"),
    [
        ("chat_service", "CHAT_REDIS_URL", "redis://{}/0"),
        ("history_service", "HISTORY_MONGODB_URL", "mongodb://{}/"),
        ("standalone", "HISTORY_MONGODB_URL", "mongodb://{}/"),
        ("standalone", "CHAT_REDIS_URL", "redis://{}/0"),
    ],
)
def test_a_signal_while_a_store_does_not_answer_ends_with_0(
    tmp_path: Path, module: str, setting: str, address: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        settings = {setting: address.format(f"127.0.0.1:{silent.getsockname()[1]}")}
        with starting(module, tmp_path, settings) as process, silent.accept()[0]:
            code, output = end(process, signal.SIGTERM)
            assert code == 0, output
            assert "Traceback" not in output


@pytest.mark.parametrize("module", ["chat_service", "standalone"])
async def test_a_second_signal_during_the_drain_closes_connections_with_1012(tmp_path: Path, module: str) -> None:
    settings = {
        **ANY_PORTS,
        "CHAT_BOT_TYPING_SECONDS": 50,
        "CHAT_DRAIN_SECONDS": 600,
        "CHAT_DATA_DIR": tmp_path / "data",
    }
    with running(module, tmp_path / "log", settings) as pod:
        peers = [await Peer.open(pod.ports["chat"]) for _ in range(3)]
        for peer in peers:
            await peer.write(upgrade())
            assert await peer.status() == 101
        text = masked(encode_request(Request(RequestKind.TEXT, b"hello")))
        busy, flooding, half = peers
        await busy.write(text)
        writing = asyncio.create_task(flooding.write(text * 50_000))
        await half.write(text + text[:10])
        os.kill(pod.process.pid, signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while not pod.count("draining"):  # noqa: ASYNC110 - another process writes the log
                await asyncio.sleep(0.01)
        os.kill(pod.process.pid, signal.SIGTERM)
        assert [await peer.close_code() for peer in peers] == [1012, 1012, 1012]
        assert await asyncio.to_thread(pod.process.wait, SECONDS) == 1
        await writing
        for peer in peers:
            peer.close()
