"""The whole system on this machine: real Valkey, MongoDB and S3, two chat and two history processes, a balancer."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from redis.asyncio import Redis

from devtools.mongod import run_mongod
from devtools.ports import free_port
from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.swift import run_swift
from devtools.valkey import ValkeyServer, run_valkey
from loadtest.criteria import RunLimits
from loadtest.monitor import POOLS
from loadtest.target import Target
from permits.redis import PoolOperator

MESSAGE_WAIT_SECONDS = 60.0


@dataclass
class LocalSystem:
    """A running system, and the faults that can be injected.

    Attributes:
        target: its addresses.
        stack: its pods.
    """

    target: Target
    stack: Stack
    _valkey: "Server"

    def restart_valkey(self) -> None:
        """Stop the limits store, and start it again on its append-only file."""
        self._valkey.restart()
        self.refresh()

    def refresh(self) -> None:
        """Update the target after pods and processes were restarted."""
        pods = {f"chat-{n}": pod for n, pod in enumerate(self.stack.chat)}
        histories = {f"history-{n}": pod for n, pod in enumerate(self.stack.history)}
        self.target.metrics = {
            **{name: _metrics_url(pod.ports["chat-metrics"]) for name, pod in pods.items()},
            **{name: _metrics_url(pod.ports["history-metrics"]) for name, pod in histories.items()},
        }
        self.target.pids = {
            **{name: pod.process.pid for name, pod in {**pods, **histories}.items()},
            "valkey": self._valkey.running.process.pid,
        }


class Server:
    """A Valkey that can be restarted on its port, with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._open = ExitStack()
        self.running = self._start()

    def _start(self) -> ValkeyServer:
        return self._open.enter_context(run_valkey(self._folder, self._port, appendonly=True))

    def restart(self) -> None:
        """Stop it and start it again."""
        self._open.close()
        self.running = self._start()

    def close(self) -> None:
        """Stop it."""
        self._open.close()


@contextmanager
def run_system(
    folder: Path, limits: RunLimits, *, typing_seconds: float, chat: Mapping[str, object] | None = None
) -> Iterator[LocalSystem]:
    """Run everything for the length of a `with` block; logs and data stay in the folder.

    Args:
        folder: for logs and data.
        limits: the limits of the chat pods.
        typing_seconds: how long a message is in process at least.
        chat: more settings of the chat pods.
    """
    settings: dict[str, object] = {
        "CHAT_MAX_CONNECTIONS": limits.connections,
        "CHAT_MAX_MESSAGES": limits.messages,
        "CHAT_WINDOW": limits.window,
        "CHAT_CONNECT_WAIT_SECONDS": limits.connect_wait_seconds,
        "CHAT_MESSAGE_WAIT_SECONDS": MESSAGE_WAIT_SECONDS,
        "CHAT_LEASE_SECONDS": limits.lease_seconds,
        "CHAT_BOT_TYPING_SECONDS": typing_seconds,
        "CHAT_MEDIA_PROCESSES": 1,
        **(chat or {}),
    }
    with ExitStack() as running:
        valkey = Server(_sub(folder, "valkey"))
        running.callback(valkey.close)
        mongodb_url = running.enter_context(run_mongod(_sub(folder, "mongod")))
        s3 = running.enter_context(run_swift(_sub(folder, "swift")))
        stores = StoreAddresses(valkey.running.url, mongodb_url, s3)
        stack = running.enter_context(
            open_stack(_sub(folder, "pods"), stores, name=f"load-{uuid4().hex[:6]}", chat=settings)
        )
        target = Target(
            chat=tuple(f"ws://127.0.0.1:{port}" for port in stack.chat_ports),
            history=stack.history_url(),
            redis_url=valkey.running.url,
            metrics={},
            limits=limits,
        )
        system = LocalSystem(target, stack, valkey)
        system.refresh()
        asyncio.run(_begin_at_once(target.redis_url))
        yield system


async def _begin_at_once(redis_url: str) -> None:
    """Declare a store trusted that was just started: no permits exist that it could have lost."""
    async with Redis.from_url(redis_url) as redis:
        for pool in POOLS:
            await PoolOperator(pool, redis).trust()


def _metrics_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"


def _sub(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    return path
