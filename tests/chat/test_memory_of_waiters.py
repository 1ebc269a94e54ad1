"""What clients who wait in the queue can make a pod keep; measured at a real process."""

import asyncio
import socket
from pathlib import Path

from devtools.processes import running
from frameproto import DEFAULT_MAX_FRAME_BYTES
from tests.chat.server_parts import upgrade
from tests.support.websocket_peer import Peer

MIB = 1 << 20
WAITERS = 130
KEPT_BYTES = 320 * 1024  # of each waiter at most: see docs/operations.md
UNRELATED_BYTES = 48 * MIB  # buffers, tasks and log lines of 130 connections, and what the allocator keeps


async def test_clients_who_send_while_they_wait_do_not_fill_the_memory(tmp_path: Path) -> None:
    settings = {
        "CHAT_PORT": 0,
        "CHAT_METRICS_PORT": 0,
        "CHAT_DATA_DIR": tmp_path / "data",
        "CHAT_MAX_CONNECTIONS": 1,
        "CHAT_CONNECT_WAIT_SECONDS": 600,
        "CHAT_FIRST_MESSAGE_SECONDS": 600,
    }
    with running("chat_service", tmp_path / "log", settings) as pod:
        holder = await Peer.open(pod.ports["chat"])
        await holder.write(upgrade())
        assert await holder.status() == 101
        before = _resident_bytes(pod.process.pid)
        frame_begins = b"\x82\xff" + DEFAULT_MAX_FRAME_BYTES.to_bytes(8, "big") + bytes(4)
        sockets = [_connect(pod.ports["chat"]) for _ in range(WAITERS)]
        try:
            for index, one in enumerate(sockets):
                one.send(upgrade().replace(b"mute", f"waiter-{index}".encode()) + frame_begins)
            sent = await _send_until_nothing_moves(sockets)
            assert sent > WAITERS * KEPT_BYTES  # they filled the sockets, so the pod has stopped reading
            assert _resident_bytes(pod.process.pid) - before < WAITERS * KEPT_BYTES + UNRELATED_BYTES
        finally:
            for one in sockets:
                one.close()
        holder.close()


async def _send_until_nothing_moves(sockets: list[socket.socket]) -> int:
    """Write into all of them, up to most of a frame each, until the other end has not read for a while."""
    left = dict.fromkeys(sockets, DEFAULT_MAX_FRAME_BYTES - MIB)
    chunk = bytes(MIB)
    idle_rounds = 0
    while idle_rounds < 20 and any(left.values()):
        idle_rounds += 1
        for one, size in left.items():
            try:
                moved = one.send(chunk[:size]) if size else 0
            except BlockingIOError:
                continue
            left[one] = size - moved
            if moved:
                idle_rounds = 0
        await asyncio.sleep(0.05)
    return sum(DEFAULT_MAX_FRAME_BYTES - MIB - size for size in left.values())


def _connect(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=20)
    one.setblocking(False)
    return one


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
