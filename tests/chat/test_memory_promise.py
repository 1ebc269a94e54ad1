"""The memory promise of docs/operations.md, measured: a real pod is filled with everything at once, then emptied."""

import os
import signal
import socket
import struct
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import psutil
import pytest

from chat_service.app import TEXT_SHARE
from chat_service.memory import worst_service_bytes
from chat_service.settings import ChatSettings
from devtools.processes import ServiceProcess, running
from tests.chat.media.making import RED, silent_mp3, video
from tests.chat.server_parts import masked, upgrade

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")

MIB = 1 << 20
FRAME_BYTES = 4 * MIB
POD_BYTES = 64 * MIB
CONNECTIONS = 16
WAITERS = 40
ROUNDS = 3
QUIET_ROUNDS = 30  # of 50 ms
MOST_AFTERWARDS = 1.5  # times the memory before
LIMITS = {"max_frame_bytes": FRAME_BYTES, "max_connection_bytes": 4 * FRAME_BYTES, "max_pod_bytes": POD_BYTES}
PATIENT = dict.fromkeys(
    (
        *("CHAT_CONNECT_WAIT_SECONDS", "CHAT_FIRST_MESSAGE_SECONDS", "CHAT_MESSAGE_WAIT_SECONDS"),
        *("CHAT_SEND_SECONDS", "CHAT_PONG_SECONDS", "CHAT_MEDIA_JOB_SECONDS"),
    ),
    600,
)


class Sender:
    """A connection that sends as fast as the pod reads, and reads nothing."""

    def __init__(self, port: int, client_id: str, messages: Iterator[bytes]) -> None:
        self.done = self.cut_off = False
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._messages = messages
        self._rest = memoryview(upgrade().replace(b"mute", client_id.encode()))

    def push(self) -> int:
        """Send what the kernel takes; return how much that was."""
        moved = 0
        try:
            while not self.done:
                sent = self._socket.send(self._rest)
                moved += sent
                self._rest = self._rest[sent:]
                if not self._rest:
                    following = next(self._messages, b"")
                    self.done, self._rest = not following, memoryview(following)
        except (ConnectionResetError, BrokenPipeError):  # the second, when a close came before the reset
            self.done = self.cut_off = True
        except BlockingIOError:
            pass
        return moved

    def close(self) -> None:
        self._socket.close()


def largest_messages() -> list[bytes]:
    """A message of each kind, all as large as they may be; the media are mostly padding, which is little work."""
    room = FRAME_BYTES - 1
    mp3, mp4 = silent_mp3(1), video(RED, seconds=1)
    padding = room - len(mp4)
    return [
        masked(b"\1" + mp3 + bytes(room - len(mp3))),
        masked(b"\2" + mp4 + struct.pack(">I4s", padding, b"free") + bytes(padding - 8)),
        masked(b"\0" + b"x" * 65_536),
    ]


def push_until_nothing_moves(senders: Sequence[Sender]) -> None:
    quiet = 0
    while quiet < QUIET_ROUNDS and not all(sender.done for sender in senders):
        quiet = 0 if sum(sender.push() for sender in senders) else quiet + 1
        time.sleep(0.05)


def push_until(senders: Sequence[Sender], condition: Callable[[], bool], *, seconds: float) -> bool:
    """Send until a condition of the pod is true; return whether it came true."""

    def pushed() -> bool:
        for sender in senders:
            sender.push()
        return condition()

    return until(pushed, seconds=seconds)


def until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for a condition of another process; return whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def resident_bytes(pod: ServiceProcess) -> int:
    return int(psutil.Process(pod.process.pid).memory_info().rss)


def peak_bytes(pod: ServiceProcess) -> int:
    lines = Path(f"/proc/{pod.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def metric(pod: ServiceProcess, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{pod.ports['chat-metrics']}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@contextmanager
def workers_that_hang(pod: ServiceProcess) -> Iterator[None]:
    """Stop the media workers, so that every message with media stays where it is."""
    children = psutil.Process(pod.process.pid).children()
    workers = [child for child in children if "chat_service.media.worker" in child.cmdline()]
    assert workers
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)


@pytest.mark.timeout(900)  # all waits within have bounds of their own
def test_a_pod_that_is_filled_stays_within_the_promise_and_gives_the_memory_back(tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "CHAT_ALLOWED_HOSTS": "*",
        "CHAT_DATA_DIR": tmp_path / "data",
        "CHAT_HISTORY_URL": "http://127.0.0.1:9",  # nobody is there, so the outbox fills as well
        "CHAT_MAX_CONNECTIONS": CONNECTIONS,
        **{f"CHAT_{name.upper()}": size for name, size in LIMITS.items()},
        **PATIENT,
    }
    promised = worst_service_bytes(ChatSettings.model_validate(LIMITS), connections=CONNECTIONS)
    messages = largest_messages()
    with running("chat_service", tmp_path / "log", settings) as pod:
        before = resident_bytes(pod)
        port = pod.ports["chat"]
        inside = [
            Sender(port, f"client-{number}", chain.from_iterable(repeat(messages, ROUNDS)))
            for number in range(CONNECTIONS)
        ]
        waiting: list[Sender] = []
        try:
            with workers_that_hang(pod):
                for sender in inside:
                    sender.push()
                assert until(lambda: metric(pod, "chatbot_connections_open") == CONNECTIONS, seconds=120)
                waiting += [Sender(port, f"waiter-{number}", iter(messages)) for number in range(WAITERS)]
                senders = [*inside, *waiting]
                full = POD_BYTES * (1 - TEXT_SHARE) - FRAME_BYTES
                assert push_until(senders, lambda: metric(pod, "chatbot_held_bytes") > full, seconds=120)
                each_waits = CONNECTIONS - 2  # with one more frame in hand
                assert push_until(senders, lambda: metric(pod, "chatbot_held_bytes_waiting") >= each_waits, seconds=120)
                used = POD_BYTES / 2 + FRAME_BYTES * CONNECTIONS / 2
                assert push_until(senders, lambda: peak_bytes(pod) - before > used, seconds=120), "it is not full"
                push_until_nothing_moves(senders)
                assert not any(sender.cut_off for sender in inside)  # who waits may be: it must not send yet
            push_until_nothing_moves(inside)  # now answers are made, and nobody reads them
            assert peak_bytes(pod) <= promised
        finally:
            for sender in (*inside, *waiting):
                sender.close()
        assert until(lambda: metric(pod, "chatbot_connections_open") == 0, seconds=120)
        assert until(lambda: resident_bytes(pod) <= MOST_AFTERWARDS * before, seconds=120), (
            f"{resident_bytes(pod) / MIB:.0f} MiB are kept, after {before / MIB:.0f} MiB before"
        )
