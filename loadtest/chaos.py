"""Faults that are injected in the middle of a run on request: in a chat process and in the limits store."""

import asyncio
import signal
import time
from collections.abc import Callable

from loadtest.json_lines import as_line
from loadtest.local_system import LocalSystem
from loadtest.recording import Fault

KILL_AFTER_SECONDS = 32.0
DEAD_SECONDS = 4.0
RESTART_AFTER_SECONDS = 18.0


async def inject_faults(system: LocalSystem, write: Callable[[str], None]) -> None:
    """Kill a chat process, start it again on its data, and later restart the store."""

    def note(name: str) -> None:
        write(as_line(Fault(at=time.time(), name=name)))

    await asyncio.sleep(KILL_AFTER_SECONDS)
    note("kill -9 of chat-0")
    victim = system.stack.chat[0]
    victim.kill(signal.SIGKILL)
    await asyncio.to_thread(victim.process.wait)
    await asyncio.sleep(DEAD_SECONDS)
    system.stack.chat_settings[0]["CHAT_METRICS_PORT"] = victim.ports["chat-metrics"]
    await asyncio.to_thread(system.stack.restart_chat, 0)
    system.refresh()
    await asyncio.sleep(RESTART_AFTER_SECONDS - DEAD_SECONDS)
    note("restart of Valkey")
    await asyncio.to_thread(system.restart_valkey)
